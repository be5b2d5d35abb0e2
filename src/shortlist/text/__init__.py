"""Words to token ids: prompt frames, exact and safe tokenising, truncation."""
