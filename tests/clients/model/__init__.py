"""A model on loopback that follows a script, for agents that cannot run without one."""
