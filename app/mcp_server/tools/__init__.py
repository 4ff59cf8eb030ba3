"""The tools: definitions, input and output schemas, the call handler, and the rendering of results."""
