"""Two results side by side, and the verdict of a CI gate."""
