"""Terraform agrees with its provider's schema, and with what the programs, the SQL and the images
say.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import cast

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from functions.config import Config as CollectorConfig
from functions.package import imported_files
from pipeline.main import build
from pipeline.ops.rules_file import DEFAULT_FILE
from pipeline.options import FreshetOptions, as_options
from pipeline.store.layout import TABLES
from sql import schema
from tests.stack.prerequisites import REPO
from vertex.api.config import Config as ApiConfig

TERRAFORM = REPO / "terraform"
VERIFY = REPO.parent / "shared" / "terraform" / "verify"
PROJECT_ROLES = {
    "roles/bigquery.jobUser",
    "roles/dataflow.worker",
    "roles/logging.logWriter",
    "roles/storage.objectViewer",
}

# Views are made in steps, each after those it reads; a deeper one needs a resource more in
# bigquery.tf.
STEPS = (1, 2, 3)


def source(name: str) -> str:
    return (TERRAFORM / name).read_text()


def everything() -> str:
    return "\n".join(path.read_text() for path in sorted(TERRAFORM.glob("*.tf")))


def assigned(text: str, name: str) -> dict[str, str]:
    """key -> expression of the map assigned to `name`."""
    found = re.search(rf"\b{name}\s*= [^\n]*\{{\n(.*?)\n *\}}", text, re.DOTALL)
    assert found, f"no map {name}"
    return dict(re.findall(r"^ *(\w+) *= *(.+)$", found.group(1), re.MULTILINE))


@pytest.mark.timeout(420)
def test_the_plan_agrees_with_the_providers_schema_and_all_its_assertions_hold() -> None:
    if not VERIFY.exists():
        pytest.skip(
            "needs ../shared/terraform/verify, which serves the provider's schema to terraform"
        )
    if shutil.which("terraform") is None:
        pytest.skip(
            "needs the terraform program: https://developer.hashicorp.com/terraform/install"
        )
    env = {**os.environ, "TF_VAR_project_id": "demo-project"}
    done = subprocess.run(
        [str(VERIFY), str(TERRAFORM)],
        env=env,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"Success!.* [1-9]\d* passed, 0 failed", done.stdout), done.stdout[-2000:]


def test_the_code_is_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip(
            "needs the terraform program: https://developer.hashicorp.com/terraform/install"
        )
    env = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", str(TERRAFORM)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_bigtable_has_the_tables_and_families_of_the_store() -> None:
    tables = {
        name: tuple(json.loads(families))
        for name, families in assigned(source("bigtable.tf"), "bigtable_tables").items()
    }
    assert tables == TABLES


def test_bigquery_has_the_tables_and_views_of_the_sql_files() -> None:
    document = json.loads(source("bigquery.json"))
    assert source("bigquery.json") == schema.for_terraform(), "run `python -m sql.schema`"
    assert set(document["tables"]) == {table.name for table in schema.tables()}
    resources = re.findall(r"for_each = local\.(\S+)", source("bigquery.tf"))
    assert resources == ["warehouse.tables", *(f"view_steps[{step}]" for step in STEPS)]


def test_views_are_made_after_what_they_read() -> None:
    text = source("bigquery.tf")
    views = json.loads(source("bigquery.json"))["views"]
    assert {view["step"] for view in views.values()} == set(STEPS), (
        "bigquery.tf makes views in this many steps"
    )
    assert f"for step in {[*STEPS]} :" in text
    before = ["this", *(f"views_{step}" for step in STEPS[:-1])]
    for step, resource in zip(STEPS, before, strict=True):
        block = text.partition(f'"views_{step}" {{')[2].partition("\n}\n")[0]
        assert f"depends_on = [google_bigquery_table.{resource}]" in block


def test_only_the_google_providers_are_asked_for() -> None:
    assert re.findall(r'source\s*= "(.+)"', source("versions.tf")) == [
        "hashicorp/google",
        "hashicorp/google-beta",
    ]
    assert re.findall(r'^ {6}version = "(.+)"', source("versions.tf"), re.MULTILINE) == [
        "~> 8.0",
        "~> 8.0",
    ]
    assert set(re.findall(r'^(?:resource|data) "(\w+?)_', everything(), re.MULTILINE)) == {"google"}


def test_no_account_gets_a_broad_role() -> None:
    roles = re.findall(r'role\s*= "(.+?)"', everything())
    assert roles
    assert not [
        role
        for role in roles
        if re.search(r"owner|editor$|admin$", role) and role not in ("roles/storage.objectAdmin",)
    ]


def test_only_four_roles_are_on_the_whole_project() -> None:
    blocks = re.findall(
        r'^resource "google_project_iam_member".*?^}', everything(), re.DOTALL | re.MULTILINE
    )
    roles = [found.group(1) for text in blocks if (found := re.search(r'role\s*= "(.+?)"', text))]
    assert sorted(roles) == sorted(PROJECT_ROLES)
    assert "google_project_iam_binding" not in everything(), (
        "a binding would throw out whoever had the role"
    )


def test_no_name_is_random() -> None:
    assert not re.search(r"random_|uuid\(|timestamp\(", everything())


def test_every_variable_is_typed_and_described() -> None:
    for text in re.findall(r"^variable .*?^}", source("variables.tf"), re.DOTALL | re.MULTILINE):
        assert re.search(r"^  type +=", text, re.MULTILINE), text
        assert re.search(r'^  description = ".{20,}"', text, re.MULTILINE), text


def test_the_collector_starts_with_the_environment_it_is_given() -> None:
    names = assigned(source("collector.tf"), "environment_variables")
    environ = dict.fromkeys(names, "value") | {"FRESHET_CORS_ORIGINS": "https://shop.example"}
    assert CollectorConfig.from_env(environ).project == "value"
    assert {name for name in names if name.startswith("FRESHET_")} <= names_read_in(
        *collector_files(), PRIVACY_SETTINGS
    )


def test_every_setting_of_the_collector_can_be_given_and_no_other() -> None:
    given = set(assigned(source("collector.tf"), "environment_variables"))
    given |= {variable for variable, readers in secrets().values() if "collector" in readers}
    settings = (
        source("variables.tf")
        .partition('variable "collector_settings"')[2]
        .partition("\nvariable ")[0]
    )
    given |= set(re.findall(r'^ +"(FRESHET_\w+)",$', settings, re.MULTILINE))
    read = {
        name
        for name in names_read_in(*collector_files(), PRIVACY_SETTINGS)
        if name.startswith("FRESHET_")
    }
    assert {name for name in given if name.startswith("FRESHET_")} == read - {"FRESHET_SITES_FILE"}


def test_the_api_starts_with_the_environment_it_is_given() -> None:
    names = assigned(source("api.tf"), "api_environment")
    environ = dict.fromkeys(names, "value") | {
        "FRESHET_VERTEX_ENDPOINT": "projects/demo-project/locations/us-central1/endpoints/1001",
        "FRESHET_MODEL_DIR": "gs://demo-project-freshet-artifacts/models",
        "FRESHET_ITEM_TTL_DAYS": "90",
    }
    assert ApiConfig.from_env(environ).project == "value"
    read = names_read_in("vertex/api", PRIVACY_SETTINGS, "pipeline/runtime/environ.py")
    assert {name for name in names if name.startswith("FRESHET_")} <= read


def secrets() -> dict[str, tuple[str, set[str]]]:
    """Secret -> the variable that it is read from, and the programs that read it."""
    pattern = r'^    ([\w-]+) = \{\n +variable = "(\w+)"\n.*\n +readers +=(.+)$'
    found = re.findall(pattern, source("secrets.tf"), re.MULTILINE)
    return {name: (variable, set(json.loads(readers))) for name, variable, readers in found}


PRIVACY_SETTINGS = "pipeline/runtime/privacy_settings.py"


def collector_files() -> list[str]:
    """The collector's own files, without its operators' commands."""
    files = {path.relative_to(REPO).as_posix() for path in imported_files("functions.main")}
    return [name for name in files if name.startswith("functions/")]


def names_read_in(*places: str) -> set[str]:
    """The FRESHET_ variables that the code in folders and files names."""
    paths = [path for place in places for path in [REPO / place, *(REPO / place).rglob("*.py")]]
    texts = [path.read_text() for path in paths if path.is_file()]
    return {name for text in texts for name in re.findall(r"FRESHET_\w+", text)}


def template_parameters() -> dict[str, dict[str, object]]:
    document = json.loads((REPO / "pipeline" / "flex_template.json").read_text())
    return {parameter["name"]: parameter for parameter in document["parameters"]}


def pattern_of(name: str) -> str:
    """The one pattern that the template checks a parameter with."""
    (pattern,) = cast(list[str], template_parameters()[name]["regexes"])
    return pattern


def test_the_template_has_the_pipelines_own_options_and_no_others() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    FreshetOptions._add_argparse_args(parser)
    assert set(template_parameters()) == {action.dest for action in parser._actions}


def test_the_template_runs_exactly_once_because_items_and_sessions_hold_no_ids() -> None:
    document = json.loads((REPO / "pipeline" / "flex_template.json").read_text())
    assert (document["supportsExactlyOnce"], document["supportsAtLeastOnce"]) == (True, False)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("campaigns_topic", ["projects/p/topics/t"], ["campaigns", "projects/p/subscriptions/t"]),
        ("anomalies_topic", ["projects/p/topics/t"], ["anomalies", "projects/p/topics/"]),
        (
            "rules",
            ["default", "none", "gs://b/rules/1.yaml", "/rules/my.yaml"],
            ["my.yaml", "gs://b", "Default", "/"],
        ),
        ("write_flush_s", ["0", "0.2", "15"], ["-1", ".", "1.", "1s"]),
        ("trending_shards", ["1", "8", "100"], ["0", "101", "1.5"]),
    ],
)
def test_the_template_takes_values_that_the_pipeline_can_use_and_no_others(
    name: str, good: list[str], bad: list[str]
) -> None:
    pattern = pattern_of(name)
    assert all(re.search(pattern, text) for text in good)
    assert not any(re.search(pattern, text) for text in bad)


def test_the_template_and_terraform_agree_on_what_a_file_of_rules_may_be_called() -> None:
    assert f'regex("{pattern_of("rules")}", var.pipeline_rules)' in source("variables.tf")


def test_terraform_passes_only_parameters_of_the_template_and_all_that_it_demands() -> None:
    passed = set(assigned(source("dataflow.tf"), "parameters"))
    known = template_parameters()
    assert passed <= set(known)
    assert {name for name, parameter in known.items() if not parameter.get("isOptional")} <= passed


def test_the_pipeline_is_told_topics_and_subscriptions_by_their_full_paths() -> None:
    passed = assigned(source("dataflow.tf"), "parameters")
    for kind in ("subscription", "topic"):
        for name in (name for name in passed if name.endswith(f"_{kind}")):
            key = name.removesuffix(f"_{kind}")
            assert passed[name] == f'google_pubsub_{kind}.this["{key}"].id'


def test_the_pipelines_options_understand_what_terraform_passes() -> None:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    FreshetOptions._add_argparse_args(parser)
    literal = {
        name: value.strip('"')
        for name, value in assigned(source("dataflow.tf"), "parameters").items()
        if value.startswith('"')
    }
    patterns = {
        name: parameter.get("regexes", [".*"]) for name, parameter in template_parameters().items()
    }
    parsed = parser.parse_args([f"--{name}={value}" for name, value in literal.items()])
    assert parsed.row_sink == literal["row_sink"]
    for name, value in literal.items():
        assert all(re.search(pattern, value) for pattern in patterns[name]), name  # type: ignore[attr-defined]


def test_dataflows_graph_can_be_built_with_what_terraform_passes() -> None:
    passed = assigned(source("dataflow.tf"), "parameters")
    values = {name: value.strip('"') for name, value in passed.items() if value.startswith('"')}
    for kind in ("subscription", "topic"):
        values |= {
            name: f"projects/demo-project/{kind}s/some"
            for name in passed
            if name.endswith(f"_{kind}")
        }
    argv = [
        "--project=demo-project",
        "--streaming",
        *(f"--{name}={value}" for name, value in values.items()),
    ]
    options = as_options(argv)
    graph = beam.Pipeline(options=options)
    build(graph, options)
    labels = "\n".join(graph.applied_labels)
    steps = (
        "ReadEvents",
        "ReadDeadLetters",
        "FoldProfiles",
        "LogEvents",
        "PublishCampaigns",
        "PublishAnomalies",
    )
    assert all(step in labels for step in steps)


def test_the_templates_launcher_needs_no_environment() -> None:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GOOGLE_", "FRESHET_"))
    }
    command = [
        sys.executable,
        "pipeline/flex_template.py",
        "--project=demo-project",
        "--row_sink=nonsense",
    ]
    done = subprocess.run(
        command,
        cwd=REPO,
        env={**env, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "argument --row_sink: invalid choice: 'nonsense'" in done.stderr


def test_the_images_run_the_pinned_beam_and_are_all_built() -> None:
    beam = re.search(r"apache-beam\[gcp\]==([\d.]+)", (REPO / "setup.py").read_text())
    assert beam
    assert (
        f"beam_python3.11_sdk:{beam.group(1)}\n" in (REPO / "pipeline" / "Dockerfile").read_text()
    )
    build = (REPO / "cloudbuild.yaml").read_text()
    files = [path.relative_to(REPO).as_posix() for path in images()]
    assert sorted(re.findall(r"--file, (\S+),", build)) == sorted(files)


def test_the_pipelines_image_holds_the_default_rules_and_what_reads_them(tmp_path: Path) -> None:
    dockerfile = (REPO / "pipeline" / "Dockerfile").read_text()
    assert "'.[pipeline]'" in dockerfile
    assert "\nCOPY setup.py constraints.txt ./\n" in dockerfile
    assert "\nCOPY pipeline pipeline\n" in dockerfile
    assert re.search(r'"pipeline": \[(?:[^\]]|\[gcp\])*"pyyaml==', (REPO / "setup.py").read_text())
    shutil.copy(REPO / "setup.py", tmp_path)
    shutil.copytree(
        REPO / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "installed"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (
        tmp_path / "installed" / "pipeline" / DEFAULT_FILE.name
    ).read_bytes() == DEFAULT_FILE.read_bytes()


def images() -> list[Path]:
    return [
        path for folder in ("pipeline", "vertex") for path in (REPO / folder).rglob("Dockerfile")
    ]


STARTED = {
    "vertex/api": ["vertex.api.__main__", "vertex.api.snapshot"],
    "vertex/predictor": ["vertex.predictor.__main__"],
    "pipeline": ["pipeline.flex_template", "pipeline.batch.backfill"],
}
"""The modules that an image starts."""


def copied(dockerfile: Path, target: Path) -> None:
    """Copy into a folder what the Dockerfile copies into its image."""
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
        *sources, destination = line.split()
        for path in (path for source in sources for path in REPO.glob(source)):
            if path.is_dir():
                shutil.copytree(
                    path, target / destination, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                (target / destination).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / destination)


@pytest.mark.parametrize("path", images(), ids=lambda path: path.parent.name)
def test_an_image_holds_all_that_it_imports_and_nothing_of_the_collector(
    path: Path, tmp_path: Path
) -> None:
    copied(path, tmp_path)
    held = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.py")}
    started = STARTED[path.parent.relative_to(REPO).as_posix()]
    needed = {
        file.relative_to(REPO).as_posix() for module in started for file in imported_files(module)
    }
    assert needed <= held
    assert not any(name.startswith(("functions/", "tests/", "web/")) for name in held)


def test_the_predictors_image_holds_what_it_imports_and_nothing_else(tmp_path: Path) -> None:
    copied(REPO / "vertex/predictor/Dockerfile", tmp_path)
    held = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.py")}
    needed = imported_files("vertex.predictor.__main__")
    assert held == {file.relative_to(REPO).as_posix() for file in needed} | {"setup.py"}


@pytest.mark.parametrize("name", ["api", "predictor"])
def test_an_image_of_a_server_holds_no_training_and_no_step_of_the_pipeline(
    name: str, tmp_path: Path
) -> None:
    copied(REPO / "vertex" / name / "Dockerfile", tmp_path)
    held = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.py")}
    assert not any(
        file.startswith(("vertex/training/", "vertex/data/", "vertex/evaluation/")) for file in held
    )
    assert not {"pipeline/main.py", "pipeline/options.py", "pipeline/batch/backfill.py"} & held


@pytest.mark.parametrize("name", ["api", "predictor"])
def test_a_server_starts_from_what_its_image_installs(name: str, tmp_path: Path) -> None:
    copied(REPO / "vertex" / name / "Dockerfile", tmp_path)
    build = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "installed"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    installed = tmp_path / "installed"
    code = (
        f"import sys, vertex.{name}.__main__; from vertex.models.registry import prior_model;"
        "prior_model();"
        "ours = [module for module in sys.modules if module.partition('.')[0] in ('pipeline', "
        "'functions', 'vertex')];"
        "print(*[sys.modules[module].__file__ for module in ours])"
    )
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed,
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert all(Path(file).is_relative_to(installed) for file in done.stdout.split())


def test_the_documentation_names_every_table_and_view() -> None:
    text = (REPO / "docs" / "analytics.md").read_text()
    made = [table.name for table in schema.tables()] + [view.name for view in schema.views()]
    assert {"dead_letters_open", "anomalies"} <= set(made)
    for name in made:
        assert f"`{name}`" in text, name


def test_the_documentation_names_every_topic_and_secret() -> None:
    text = (REPO / "docs" / "deploy.md").read_text()
    made = [name.strip('"') for name in assigned(source("project.tf"), "topics").values()]
    made += secrets()
    assert {"dead-letters", "freshet-address-key", "freshet-api-keys"} <= set(made)
    for name in made:
        assert f"`{name}`" in text, name


def test_the_documented_backfill_has_options_that_beam_knows_and_the_shards_of_the_stream() -> None:
    text = (REPO / "docs" / "deploy.md").read_text().replace("\\\n", " ")
    command = re.search(r"-m pipeline\.batch\.backfill (--since .+)", text)
    assert command
    argv = re.sub(r"\$\w+|\$\{\w+:-(\w+)\}", r"some\1", command.group(1)).split()
    named = {argument.removeprefix("--") for argument in argv if argument.startswith("--")}
    options = PipelineOptions(argv).get_all_options(drop_default=True)
    assert named - set(options) <= {"since", "rules"}  # ours, and what is as the default says
    assert options["runner"] == "DataflowRunner"
    assert (
        f'"{options["trending_shards"]}"'
        == assigned(source("dataflow.tf"), "parameters")["trending_shards"]
    )


def test_the_documentation_names_every_variable_without_a_default() -> None:
    text = (REPO / "docs" / "deploy.md").read_text()
    for name, body in re.findall(
        r'^variable "(\w+)" (.*?)^}', source("variables.tf"), re.DOTALL | re.MULTILINE
    ):
        assert "default" in body or name in text, name
