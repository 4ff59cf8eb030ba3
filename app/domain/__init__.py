"""Values and rules of the service, without I/O, clock or framework."""
