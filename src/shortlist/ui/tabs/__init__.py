"""The four tabs: their fields and events. Importing this package imports Gradio."""
