"""The official MCP conformance suite, run against the service and against a build of it with the suite's fixtures."""
