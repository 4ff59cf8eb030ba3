"""Domain values and rules of the service, without I/O, clocks or frameworks."""
