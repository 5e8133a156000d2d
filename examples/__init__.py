"""Examples that train small networks on real data, export them and measure the files."""
