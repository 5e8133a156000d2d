"""What keeps int8 accurate: passes before and after the ranges, each kept only where it gains."""
