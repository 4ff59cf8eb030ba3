"""Sign-in: clients, the consent and the login of people, and the tokens that follow."""
