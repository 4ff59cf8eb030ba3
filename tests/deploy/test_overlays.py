"""The overlays for Kubernetes: whatever they name is there, and what they replace is what has to be replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = DEPLOY / "overlays" / "example"
GATEWAY = DEPLOY / "components" / "gateway"


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def kustomization(folder: Path) -> Any:
    return documents(folder / "kustomization.yaml")[0]


def resources(folder: Path) -> Iterator[Any]:
    """Return everything that a folder brings, before patches."""
    for name in kustomization(folder)["resources"]:
        path = folder / name
        yield from resources(path) if path.is_dir() else documents(path)


def of_kind(found: list[Any], kind: str) -> list[Any]:
    return [resource for resource in found if resource["kind"] == kind]


def at(resource: Any, path: str) -> Any:
    for step in path.split("."):
        resource = resource[int(step) if step.isdecimal() else step]
    return resource


@pytest.fixture
def base() -> list[Any]:
    return list(resources(DEPLOY / "kubernetes"))


@pytest.fixture
def route() -> Any:
    return documents(GATEWAY / "httproute.yaml")[0]


def test_the_overlay_stands_beside_the_base_and_not_in_it() -> None:
    """Kustomize takes a base that holds its overlay for a cycle."""
    for name in kustomization(EXAMPLE)["resources"]:
        assert (EXAMPLE / name / "kustomization.yaml").is_file()
        assert (EXAMPLE / name).resolve() not in EXAMPLE.parents
    named = (EXAMPLE / "kustomization.yaml").read_text(encoding="utf-8")
    assert "#   - ../../components/gateway" in named
    assert (EXAMPLE / "../../components/gateway/kustomization.yaml").is_file()


def test_the_image_that_the_overlay_replaces_is_the_one_of_the_deployment(base: list[Any]) -> None:
    (image,) = kustomization(EXAMPLE)["images"]
    used = of_kind(base, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert used.rpartition(":")[0] == image["name"]


def test_the_values_of_the_overlay_are_settings_of_the_base(base: list[Any]) -> None:
    (patch,) = [
        document for given in kustomization(EXAMPLE)["patches"] for document in documents(EXAMPLE / given["path"])
    ]
    (configured,) = of_kind(base, "ConfigMap")
    assert patch["metadata"] == configured["metadata"]
    assert patch["data"].items() <= configured["data"].items()


def test_one_address_is_copied_to_every_place_that_names_the_host(base: list[Any], route: Any) -> None:
    (replacement,) = kustomization(EXAMPLE)["replacements"]
    source = replacement["source"]
    (configured,) = of_kind(base, source["kind"])
    options = source["options"]
    host = at(configured, source["fieldPath"]).split(options["delimiter"])[options["index"]]
    assert configured["metadata"]["name"] == source["name"]
    replaced = 0
    for target in replacement["targets"]:
        for resource in of_kind([*base, route], target["select"]["kind"]):
            for path in target["fieldPaths"]:
                assert at(resource, path) == host
                replaced += 1
    assert replaced == str([*base, route]).count(f"'{host}'")


def test_the_gateway_takes_the_place_of_every_ingress_and_leads_to_the_same_port(base: list[Any], route: Any) -> None:
    patches = kustomization(GATEWAY)["patches"]
    deleted = [yaml.safe_load(patch["patch"]) for patch in patches if "target" not in patch]
    assert all(patch["$patch"] == "delete" for patch in deleted)
    assert {patch["metadata"]["name"] for patch in deleted} == {
        ingress["metadata"]["name"] for ingress in of_kind(base, "Ingress")
    }
    (service,) = of_kind(base, "Service")
    http = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "http")
    for rule in route["spec"]["rules"]:
        assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": http}]
        assert "retry" not in rule, "a POST that is sent twice buys a second video"
    assert route["metadata"]["namespace"] == service["metadata"]["namespace"]


def test_the_gateways_namespace_is_put_where_the_policy_names_the_ingress_controllers(base: list[Any]) -> None:
    (patch,) = [patch for patch in kustomization(GATEWAY)["patches"] if "target" in patch]
    (change,) = yaml.safe_load(patch["patch"])
    (policy,) = of_kind(base, patch["target"]["kind"])
    assert policy["metadata"]["name"] == patch["target"]["name"]
    steps = [step.replace("~1", "/") for step in change["path"].strip("/").split("/")]
    place: Any = policy
    for step in steps:
        place = place[int(step) if step.isdecimal() else step]
    assert place == "ingress-nginx"
    assert change["op"] == "replace"
