"""Holds the files of gateway/deploy against the schemas and rules of those who will read them: `cargo xtask container --lint`."""

import pathlib
import subprocess
import sys
import tempfile

import jsonpatch
import yaml

DEPLOY = pathlib.Path(__file__).parents[2] / "gateway/deploy"
BIN = pathlib.Path(sys.executable).parent
# Of systemd-analyze's score from 0 to 100; what is left is the TUN device's, and forwarding in /proc/sys.
EXPOSURE = "25"


def run(*words, **options):
    subprocess.run([str(word) for word in words], check=True, **options)


def lint_dockerfile():
    run(BIN / "hadolint", "--failure-threshold", "info", DEPLOY / "Dockerfile")


def lint_compose():
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *sorted(DEPLOY.glob("compose*.yaml")))


def resources(folder):
    """What kustomize would print for this folder, by the two of its features that are used here."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        found += resources(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for patch in kustomization.get("patches", []):
        wanted = (patch["target"]["kind"], patch["target"]["name"])
        at = [(each["kind"], each["metadata"]["name"]) for each in found].index(wanted)
        found[at] = jsonpatch.apply_patch(found[at], yaml.safe_load(patch["patch"]))
    return found


def lint_kubernetes():
    for folder in ["kubernetes", "kubernetes/tun"]:
        found = resources(DEPLOY / folder)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(found, file)
            file.flush()
            run(BIN / "kubernetes-validate", "--strict", file.name)
        deployment, service = found
        template = deployment["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items(), "the Service finds no pod"
        # Otherwise variables of the Service are errors of the configuration.
        assert template["spec"]["enableServiceLinks"] is False
        container = template["spec"]["containers"][0]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"], "the root is to be read-only"
        assert {"livenessProbe", "readinessProbe"} <= container.keys(), "the cluster has to learn how it is"
        admin = "NET_ADMIN" in security["capabilities"].get("add", [])
        assert admin == folder.endswith("tun"), "NET_ADMIN is for egress tun alone"


def lint_systemd():
    unit = DEPLOY / "systemd/webtun-gateway.service"
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        # The program is not installed here.
        copy = pathlib.Path(folder) / unit.name
        copy.write_text(unit.read_text().replace("/usr/local/bin/webtun-gateway", "/bin/true"))
        told = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
        assert told.returncode == 0 and unit.name not in told.stderr, told.stderr


for lint in [lint_dockerfile, lint_compose, lint_kubernetes, lint_systemd]:
    lint()
    print(f"ok   {lint.__name__}")
