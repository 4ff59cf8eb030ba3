"""Everything that deploys the service, held against the service itself and against the Kubernetes schemas."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.cli.serve import DRAIN_SECONDS
from app.composition.services import CALLBACKS_PATH
from app.settings import PREFIX, Settings
from app.web.admin.operations import ADMIN_PATH
from app.web.mcp_endpoint import MAX_BODY_BYTES
from app.web.middleware.trusted_host import ANY_HOST_PATHS, AllowList

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBERNETES_VERSION = "1.33"
MANIFESTS = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
DEPLOYING = [*(ROOT / "deploy").rglob("*.yaml"), ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "nginx.conf"]
LOCKS = [
    ROOT / f"{name}.txt"
    for name in ("constraints", "constraints-otel", "constraints-dev", "constraints-build", "constraints-pip")
]
ALL_LOCKS = [*LOCKS, *ROOT.glob("constraints-*-*.txt"), ROOT / "tests" / "conformance" / "package-lock.json"]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def manifest(name: str) -> Any:
    return yaml.safe_load(text(KUBERNETES / f"{name}.yaml"))


def container() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_fits_the_kubernetes_schema(path: Path) -> None:
    documents = list(yaml.safe_load_all(text(path)))
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_the_schema_does_refuse_what_is_wrong() -> None:
    wrong = manifest("service") | {"spec": {"ports": [{"port": "eighty"}], "surprise": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSION, strict=True)


def test_the_kustomization_names_every_manifest_but_the_example_secret() -> None:
    assert sorted(manifest("kustomization")["resources"]) == [
        path.name for path in MANIFESTS if path.name != "secret.example.yaml"
    ]


def test_every_variable_that_is_set_anywhere_is_a_setting() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for path in [*DEPLOYING, ROOT / "docker-compose.yml", ROOT / ".env.example", ROOT / "docs" / "operating.md"]:
        named = set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", text(path)))
        assert named <= known, path.name


def test_the_values_in_the_configmap_and_compose_file_parse() -> None:
    compose = yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"]["luma-mcp"]["environment"]
    for values in (manifest("configmap")["data"], compose):
        assert parsed({name: value for name, value in values.items() if "${" not in value})


def test_env_example_has_every_setting_with_its_default() -> None:
    lines = [line for line in text(ROOT / ".env.example").splitlines() if line.startswith(f"#{PREFIX}")]
    given = dict(line[1:].split("=", 1) for line in lines)
    assert list(given) == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    assert parsed({name: value for name, value in given.items() if value}) == parsed({})


def parsed(variables: Mapping[str, str]) -> Settings:
    given: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
    return Settings(_env_file=None, **given)


def test_stopping_takes_longer_than_draining() -> None:
    spec = manifest("deployment")["spec"]["template"]["spec"]
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > pause + DRAIN_SECONDS
    grace = yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"]["luma-mcp"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > DRAIN_SECONDS


def test_postgres_keeps_purchases_over_restarts_and_redis_is_a_cache() -> None:
    services = yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"]
    redis = services["redis"]
    assert services["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql"]
    words = shlex.split(redis["command"][-1].rpartition("exec redis-server /tmp/redis.conf ")[2])
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--appendonly"] == "no"
    assert options["--maxmemory-policy"] == "volatile-lru", "all keys have a time to live"


def test_the_redis_of_compose_wants_a_password_that_no_command_line_shows() -> None:
    services = yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"]
    redis = services["redis"]
    assert "REDIS_PASSWORD" not in " ".join(redis["command"])
    assert 'requirepass "%s"' in redis["command"][-1]
    assert "$$REDISCLI_AUTH" in redis["command"][-1]
    assert redis["environment"]["REDISCLI_AUTH"].startswith("${REDIS_PASSWORD:?")
    assert services["luma-mcp"]["environment"]["LUMA_MCP_REDIS_URL"].startswith("redis://:${REDIS_PASSWORD:?")
    assert "REDIS_PASSWORD=$(openssl rand -hex" in text(ROOT / "docs" / "operating.md"), "hex needs no percent-encoding"


def test_each_service_of_compose_is_bounded_and_runs_on_in_the_background() -> None:
    for service in yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"].values():
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["pids_limit"] > 0
    assert re.search(r"docker compose up --build -d\b", text(ROOT / "docs" / "operating.md"))


def test_images_can_be_pinned_by_digest_without_an_edit() -> None:
    services = yaml.safe_load(text(ROOT / "docker-compose.yml"))["services"]
    dockerfile = text(ROOT / "deploy" / "Dockerfile")
    default = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert services["luma-mcp"]["build"]["args"] == {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{default[0]}}}"}
    for name in ("redis", "postgres"):
        variable = f"{name.upper()}_IMAGE"
        assert services[name]["image"].startswith(f"${{{variable}:-{name}:")
        assert re.search(rf"^# .*\b{variable}\b.*\bdigest\b", text(ROOT / "docker-compose.yml"), re.MULTILINE)
    assert re.search(r"^# .*PYTHON_IMAGE=\S+@sha256:", dockerfile, re.MULTILINE)


def test_everything_from_the_registry_is_a_wheel_with_a_hash() -> None:
    makefile = text(ROOT / "Makefile").replace("\\\n", " ")
    wheels = re.findall(r"^WHEELS := (.*)$", makefile, re.MULTILINE)[0]
    lines = [*makefile.replace("$(WHEELS)", wheels).splitlines(), *text(ROOT / "deploy" / "Dockerfile").splitlines()]
    from_locks = [line for line in lines if re.search(r"(pip|PIP_INSTALL\)).* -r ", line)]
    assert len(from_locks) == 9
    for line in from_locks:
        assert "--only-binary :all: --no-deps --require-hashes" in line


def test_make_run_installs_the_runtime_alone(tmp_path: Path) -> None:
    for name in ("Makefile", *(lock.name for lock in LOCKS), "pyproject.toml"):
        (tmp_path / name).write_text(text(ROOT / name), encoding="utf-8")
    planned = subprocess.run(
        ["make", "-n", "run"],  # noqa: S607 - the make that runs the tests
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "-r constraints.txt -r constraints-build.txt" in planned
    assert "luma-mcp serve --sandbox" in planned
    assert planned.index("echo") < planned.index("-r constraints.txt"), "the wait is announced"
    assert "constraints-dev" not in planned


def test_probes_ask_what_the_service_answers() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert str(ports["http"]) in container()["args"]
    assert str(ports["metrics"]) == manifest("configmap")["data"]["LUMA_MCP_METRICS"]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/readyz")):
        asked = container()[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, "http")
        hosts = [given["value"] for given in asked.get("httpHeaders", ())]
        assert path in ANY_HOST_PATHS or [
            AllowList(Settings(_env_file=None).hosts()).allows(host) for host in hosts
        ] == [True]
    assert "/livez" in text(ROOT / "deploy" / "Dockerfile")


def test_the_autoscaler_alone_says_how_many_replicas_there_are() -> None:
    assert "replicas" not in manifest("deployment")["spec"]
    assert manifest("horizontalpodautoscaler")["spec"]["minReplicas"] == 2


def test_each_port_of_the_service_is_one_of_the_pod() -> None:
    named = {port["name"]: port["containerPort"] for port in container()["ports"]}
    ports = {port["name"]: port for port in manifest("service")["spec"]["ports"]}
    assert ports.keys() == named.keys() == {"http", "metrics"}
    assert {port["targetPort"] for port in ports.values()} == named.keys()
    assert ports["metrics"]["port"] == named["metrics"]


def test_the_network_policy_lets_in_proxies_monitoring_and_probes_and_out_what_is_used() -> None:
    policy, ports = (
        manifest("networkpolicy")["spec"],
        {port["name"]: port["containerPort"] for port in container()["ports"]},
    )
    let_in = {next(iter(rule["from"][0])): [port["port"] for port in rule["ports"]] for rule in policy["ingress"]}
    assert let_in == {"namespaceSelector": [ports["metrics"]], "ipBlock": [ports["http"]]}
    assert policy["ingress"][0]["ports"] == [{"port": ports["http"]}]
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert out == {53, 5432, 6379, 6380, 26379, 443, 4317, 4318}


def test_labels_join_what_belongs_together() -> None:
    label = {"app.kubernetes.io/name": "luma-mcp"}
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == label
    assert manifest("deployment")["spec"]["template"]["metadata"]["labels"] == label
    assert manifest("service")["spec"]["selector"] == label
    assert manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"] == label
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"] == label
    assert manifest("horizontalpodautoscaler")["spec"]["scaleTargetRef"]["name"] == "luma-mcp"


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    spec = manifest("deployment")["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_runs_without_root_and_says_how_it_is() -> None:
    dockerfile = text(ROOT / "deploy" / "Dockerfile")
    assert dockerfile.count("\nFROM ") + dockerfile.startswith("FROM ") == 2
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert "USER 10001" in last_stage
    assert "HEALTHCHECK" in last_stage
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert dockerfile.count("--require-hashes") == dockerfile.count("-r constraints") == 2


def test_everything_the_image_copies_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text(ROOT / "deploy" / "Dockerfile"), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    allowed = [line[1:] for line in text(ROOT / ".dockerignore").splitlines() if line.startswith("!")]
    assert sorted(names) == sorted(allowed)
    assert all((ROOT / name).exists() for name in names)


def test_proxies_take_bodies_as_large_as_the_service_and_never_resend_a_post() -> None:
    nginx, annotations = text(ROOT / "deploy" / "nginx.conf"), manifest("ingress")["metadata"]["annotations"]
    limit = f"{MAX_BODY_BYTES // 1024}k"
    assert f"client_max_body_size {limit};" in nginx
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == limit
    resending = re.findall(r"proxy_next_upstream ([^;]+);", nginx)
    assert resending == [annotations["nginx.ingress.kubernetes.io/proxy-next-upstream"]] == ["error timeout"]
    assert "proxy_buffering off;" in nginx
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"


@pytest.mark.parametrize("path", ALL_LOCKS, ids=lambda path: path.name)
def test_no_lock_file_names_an_index(path: Path) -> None:
    assert not re.search(r"https?://|index-url|find-links|\"resolved\"", text(path))


def pins(path: Path) -> dict[str, str]:
    blocks = re.split(r"\n(?=[a-z0-9])", text(path))
    assert all("--hash=sha256:" in block for block in blocks), "every pin has its hashes"
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text(path), re.MULTILINE))


def test_the_locks_agree() -> None:
    runtime, image, development, build, _ = map(pins, LOCKS)
    assert runtime.items() <= image.items() <= development.items()
    assert build.items() <= development.items()


def test_what_the_project_asks_for_is_what_is_locked() -> None:
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    runtime, image, *_ = map(pins, LOCKS)
    for requirement in project["project"]["dependencies"]:
        name, _, version = requirement.partition(";")[0].strip().partition("==")
        assert runtime[re.sub(r"\[.*\]", "", name)] == version
    for requirement in project["project"]["optional-dependencies"]["otel"]:
        name, _, version = requirement.partition("==")
        assert name not in runtime
        assert image[name] == version


def test_the_registry_entry_names_this_version_and_keeps_the_token_secret() -> None:
    entry = json.loads(text(ROOT / "server.json"))
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    header = entry["remotes"][0]["headers"][0]
    assert entry["version"] == project["version"]
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert len(entry["description"]) <= 100
    assert entry["remotes"][0]["type"] == "streamable-http"
    assert entry["remotes"][0]["url"].endswith("/mcp")
    assert header["name"] == "Authorization"
    assert header["isSecret"] is True
    assert header["isRequired"] is True


def test_nginx_bounds_what_an_address_may_send_and_logs_no_ticket() -> None:
    nginx = text(ROOT / "deploy" / "nginx.conf")
    for directive in ("limit_req ", "limit_conn ", "large_client_header_buffers", "client_header_timeout", "308 https"):
        assert directive in nginx
    assert 'proxy_set_header Upgrade "";' in nginx
    assert "http2 on" not in re.sub(r"#.*", "", nginx), "nginx before 1.25.1 does not know it"
    assert "$uri " not in nginx.partition("log_format")[2].partition(";")[0]
    hidden = re.search(r"~\*(\S+) +/callbacks/-;", nginx)
    assert hidden is not None
    for path in ("/callbacks/ticket", "/CALLBACKS/ticket", "/luma/callbacks/ticket"):
        assert re.search(hidden[1], path, re.IGNORECASE)


@pytest.mark.parametrize("path", ["/admin", "/admin/v1/team", "/ADMIN/v1/keys"])
def test_nginx_passes_no_administration_on(path: str) -> None:
    location = re.search(r"location ~\* (\S+) \{\s+return 404;", text(ROOT / "deploy" / "nginx.conf"))
    assert location is not None
    assert re.match(location[1], path, re.IGNORECASE)
    assert re.match(location[1], "/administrators") is None
    assert f"{ADMIN_PATH}/".startswith("/admin/")


def test_administration_is_off_where_an_ingress_would_pass_it_on() -> None:
    assert "LUMA_MCP_ADMIN" not in manifest("configmap")["data"]
    assert parsed({}).admin == "off"


def test_each_server_of_nginx_has_logs_without_tickets() -> None:
    """A server without logs of its own writes whole request lines to those of nginx."""
    servers = re.findall(r"^server \{\n(.*?)^\}", text(ROOT / "deploy" / "nginx.conf"), re.DOTALL | re.MULTILINE)
    assert len(servers) == 3
    for server in servers:
        access, errors = (re.findall(rf"^    {name}_log +(.+?);", server, re.MULTILINE) for name in ("access", "error"))
        assert access in (["off"], ["/var/log/nginx/luma-mcp.log luma_mcp"])
        assert len(errors) == 1
        assert errors[0].endswith(" crit") or "proxy_pass" in server


def test_nginx_closes_idle_connections_before_the_service_does() -> None:
    """Otherwise nginx sends requests on connections that the service is closing, and answers them with 502."""
    upstream = re.search(
        r"^upstream luma_mcp \{\n(.*?)^\}", text(ROOT / "deploy" / "nginx.conf"), re.DOTALL | re.MULTILINE
    )
    assert upstream is not None
    assert "keepalive_timeout" not in upstream[1], "so it is 60 s, nginx's default"
    assert parsed({}).keep_alive_seconds > 60


def test_nginx_gives_other_hosts_no_answer() -> None:
    nginx = text(ROOT / "deploy" / "nginx.conf")
    servers = re.findall(r"^server \{\n(.*?)^\}", nginx, re.DOTALL | re.MULTILINE)
    [default] = [server for server in servers if "server_name _;" in server]
    assert re.findall(r"listen (.+);", default) == ["80 default_server", "443 ssl default_server"]
    assert re.search(r"^    return 444;$", default, re.MULTILINE)


def test_callbacks_have_limits_and_an_error_log_of_their_own_in_any_case() -> None:
    nginx = text(ROOT / "deploy" / "nginx.conf")
    callbacks = re.search(r"location ~\* /callbacks/ \{(.*?)\}", nginx, re.DOTALL)
    assert callbacks is not None
    assert re.search(r"error_log \S+ crit;", callbacks[1])
    for kind in ("req", "conn"):
        zones = set(re.findall(rf"limit_{kind}_zone +\S+ +zone=(\w+):", nginx))
        own = re.findall(rf"limit_{kind} +(?:zone=)?(\w+)", callbacks[1])
        shared = re.findall(rf"limit_{kind} +(?:zone=)?(\w+)", nginx.replace(callbacks[1], ""))
        assert len(own) == 1
        assert set(own) & set(shared) == set()
        assert {*own, *shared} == zones


@pytest.mark.parametrize("name", ["ingress", "ingress-callbacks"])
def test_the_ingress_bounds_what_an_address_may_send_and_logs_no_ticket(name: str) -> None:
    notes = manifest(name)["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io"
    assert {f"{prefix}/limit-rps", f"{prefix}/limit-connections"} <= notes.keys()
    assert notes[f"{prefix}/enable-access-log"] == "false"


def test_callbacks_have_an_ingress_with_limits_of_their_own_and_all_else_alike() -> None:
    callers, callbacks = manifest("ingress"), manifest("ingress-callbacks")
    differing = {
        note.rpartition("/")[2]
        for note, value in callers["metadata"]["annotations"].items()
        if callbacks["metadata"]["annotations"][note] != value
    }
    assert differing == {"limit-rps", "limit-burst-multiplier", "limit-connections"}
    assert callbacks["spec"]["rules"][0]["http"]["paths"][0]["path"] == CALLBACKS_PATH
    callbacks["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/"
    assert callbacks["spec"] == callers["spec"]


@pytest.mark.parametrize("path", ["/authorize", "/oauth/callback", "/join", "/luma/join", "/JOIN", "/authorize/"])
def test_no_log_of_nginx_has_the_query_of_a_sign_in(path: str) -> None:
    """It holds codes, states and invitations. The access log has no query; an error log repeats the request line."""
    nginx = text(ROOT / "deploy" / "nginx.conf")
    sign_in = re.search(r"location ~\* (/\(authorize\S+) \{(.*?)\}", nginx, re.DOTALL)
    assert sign_in is not None
    assert re.search(sign_in[1], path, re.IGNORECASE)
    assert re.search(r"error_log \S+ crit;", sign_in[2])
    logged = nginx.partition("log_format")[2].partition(";")[0]
    assert not {"$request ", "$request_uri", "$args", "$query_string", "$http_referer"} & set(logged.split())
