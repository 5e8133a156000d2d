"""What the tests share: harnesses, small networks and made-up results."""
