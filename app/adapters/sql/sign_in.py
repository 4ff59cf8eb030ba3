"""The repositories of sign-in in one database."""

from app.adapters.sql.engine import SqlClock, database_now
from app.adapters.sql.oauth_clients import SqlClients
from app.adapters.sql.oauth_grants import SqlGrants
from app.adapters.sql.oauth_people import SqlPeople
from app.adapters.sql.sign_in_steps import SqlSignInSteps
from app.adapters.sql.turns import Operations
from app.ports.sign_in_store import SignInStore


def sql_sign_in(database: Operations, now: SqlClock = database_now) -> SignInStore:
    """Return the repositories in `database`. `now` returns the SQL of its clock."""
    return SignInStore(
        clients=SqlClients(database, now),
        people=SqlPeople(database, now),
        steps=SqlSignInSteps(database, now),
        grants=SqlGrants(database, now),
    )
