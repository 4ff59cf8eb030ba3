"""Teams: look-up and administration of keys, members, credentials, budgets and limits; settlement and usage."""
