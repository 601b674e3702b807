"""Packages Freshet: the pure core with two dependencies, and one extra for each thing that is
deployed.

The Python client is a package of its own, with the name `freshet`: `web/client/pyproject.toml`.

Versions are exact. `constraints.txt` pins what these need in turn; refresh both with `make
constraints`.
"""

from setuptools import find_packages, setup

GOOGLE_STORES = [
    "google-cloud-bigtable==2.50.2",
    "google-cloud-bigquery==3.47.0",
]
HTTP = [
    "starlette==1.10.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
]
RANKER = ["lightgbm==4.7.0"]
TEXTS = ["wordllama==0.4.0.post1"]

setup(
    name="freshet-platform",
    version="0.1.0",
    description="Real-time clickstream personalization on Google Cloud",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline*", "functions*", "vertex*"]),
    package_data={
        "": ["*.sql", "*.yaml", "*.yml", "py.typed"],
        "functions.contract.schemas": ["*/*.json"],
        "vertex.models": ["prior/*"],
    },
    install_requires=["msgspec==0.22.0", "numpy==2.4.6"],
    extras_require={
        "pipeline": [
            "apache-beam[gcp]==2.77.0",
            "defusedxml==0.7.1",
            "google-cloud-pubsub==2.44.0",
            "pyyaml==6.0.3",
            *GOOGLE_STORES,
        ],
        "collector": [
            "functions-framework==3.10.2",
            "google-cloud-pubsub==2.44.0",
            "brotli==1.2.1",
            "crawler-user-agents==1.67.0",
            "jsonschema-rs==0.60.1",
            "maxminddb==3.2.0",
            "ua-parser==1.0.2",
            *HTTP,
        ],
        "api": [
            "aiohttp==3.14.5",
            "faiss-cpu==1.15.1",
            "google-cloud-aiplatform==1.165.1",
            "lark==1.3.1",
            "pyyaml==6.0.3",
            *GOOGLE_STORES,
            *RANKER,
            *TEXTS,
            *HTTP,
        ],
        "predictor": ["google-cloud-storage==3.17.1", *RANKER, *HTTP],
        "training": [
            "gensim==4.4.0",
            "google-cloud-storage==3.17.1",
            *GOOGLE_STORES,
            *RANKER,
            *TEXTS,
        ],
        "dev": [
            "honcho==2.0.0",
            # The vendors' own SDKs, and for GA4 one that speaks its protocol: the collector is
            # tested with them.
            "amplitude-analytics==1.3.0",
            "ga4mp==2.0.4",
            "mixpanel==5.4.1",
            "rudder-sdk-python==2.1.9",
            "segment-analytics-python==2.4.0",
            "snowplow-tracker==1.1.0",
            "flit-core==4.2.0",
            "httpx==0.28.1",
            "hypothesis==6.170.15",
            "import-linter==2.17",
            "mypy==2.4.1",
            "playwright==1.65.2",
            "pytest==9.2.0",
            "pytest-asyncio==1.5.0",
            "pytest-rerunfailures==16.7",
            "pytest-timeout==2.4.0",
            "pytest-xdist==3.8.0",
            "py-spy==0.4.3",
            "ruff==0.17.6",
            "schemathesis==4.32.5",
        ],
    },
)
