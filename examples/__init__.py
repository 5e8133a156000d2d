"""Small real trainings, exported and measured."""
