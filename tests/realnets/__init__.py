"""Networks that other people trained, exported and held against their own runtime."""
