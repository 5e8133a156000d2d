"""The ideas of convolutional networks, one file each."""
