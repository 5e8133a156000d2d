"""Tables, Markdown and plots: what people read of results."""
