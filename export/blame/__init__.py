"""Which layers of a network lose accuracy in 8 bits, and why."""
