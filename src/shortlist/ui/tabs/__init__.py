"""The four tabs: which fields stand where, and which click does what. Importing this room imports Gradio."""
