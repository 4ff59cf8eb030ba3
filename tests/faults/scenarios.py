"""All fault scenarios, in the order of the table in docs/reliability.md."""

from tests.faults.backend_faults import BACKEND_SCENARIOS
from tests.faults.client_faults import CLIENT_SCENARIOS
from tests.faults.database_faults import DATABASE_SCENARIOS
from tests.faults.redis_faults import REDIS_SCENARIOS
from tests.faults.service_faults import SERVICE_SCENARIOS

SCENARIOS = (*REDIS_SCENARIOS, *DATABASE_SCENARIOS, *BACKEND_SCENARIOS, *SERVICE_SCENARIOS, *CLIENT_SCENARIOS)
