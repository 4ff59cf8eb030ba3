"""What the service knows: values and rules, without I/O, clock or framework."""
