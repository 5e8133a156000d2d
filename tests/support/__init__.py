"""Helpers that several tests share: harnesses, small networks and made-up results."""
