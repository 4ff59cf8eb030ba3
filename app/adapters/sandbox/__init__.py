"""A simulation of AceDataCloud's HTTP API, without a network or an account."""
