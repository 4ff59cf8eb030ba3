"""Builds the administration of teams over HTTP."""

from dataclasses import dataclass

from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.secret_maker import VaultSecretMaker
from app.adapters.sql.budget_administration import SqlBudgets
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.vault import Vault
from app.composition.clocks import Clocks
from app.domain.backend import BackendDescription
from app.domain.money import price_of_generation
from app.persistence import Persistence
from app.services.limits.admin_limits import AdminLimits
from app.services.teams.administration import TeamAdministration
from app.services.teams.budget_administration import BudgetAdministration
from app.services.teams.departures import TeamDepartures
from app.services.teams.invitations import InvitationAdministration, InvitationMaker
from app.services.teams.limit_administration import LimitAdministration
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Administration:
    """The services of administration over HTTP. `request_limits` limits administrative requests."""

    teams: TeamAdministration
    invitations: InvitationAdministration
    budgets: BudgetAdministration
    rate_limits: LimitAdministration
    request_limits: AdminLimits


def build_administration(
    settings: Settings, persistence: Persistence, backend: BackendDescription, clocks: Clocks
) -> Administration:
    """Return the services of administration."""
    directory = sql_directory(persistence.database, clocks.database)
    secrets = VaultSecretMaker(directory, tuple(settings.secret_keys()))
    people = sql_sign_in(persistence.database, clocks.database).people
    vault = VaultPersonSealer(Vault(*settings.secret_keys()))
    departures = TeamDepartures(directory, people, vault, secrets)
    invitations = InvitationMaker(directory.invitations, secrets, settings.join_page())
    budgets = SqlBudgets(persistence.database, clocks.database)
    return Administration(
        TeamAdministration(directory, secrets, departures, (settings.backend,)),
        InvitationAdministration(directory, invitations),
        BudgetAdministration(budgets, secrets, price_of_generation(backend.policy.price)),
        LimitAdministration(SqlTeamLimits(persistence.database, clocks.database)),
        AdminLimits(clocks.monotonic),
    )
