"""The options of a cluster on Kubernetes: from flags, a file, a call; every problem is named."""

import json
import logging
import re

import pytest
from click.testing import CliRunner

from daskcast import preload
from daskcast.cli import main
from daskcast.cli.options import resolve
from daskcast.cluster import kubernetes
from daskcast.config import RunOptions
from daskcast.errors import ConfigError
from daskcast.k8s.spec import cluster_manifest, memory_limit
from daskcast.kubernetes_options import KubernetesOptions, PodOptions, in_bytes


def containers_of(manifest):
    spec = manifest["spec"]
    return {part: spec[part]["spec"]["containers"][0] for part in ("scheduler", "worker")}


def names_of(env):
    return {one["name"]: one["value"] for one in env}


def test_flags_win_over_the_table_of_a_file(tmp_path):
    """A flag changes one option of a pod and leaves what the file says of the others."""
    file = tmp_path / "run.toml"
    file.write_text(
        'cluster = "kubernetes"\nworkers = 4\nhorizon = 12\n[kubernetes]\nimage = "daskcast:1"\n'
        'idle-timeout = 60\n[kubernetes.worker]\nmemory = "4Gi"\ncpu = 2\nsecrets = ["data"]\n'
    )
    _, options = resolve({"worker_memory": "8Gi", "namespace": "a"}, str(file))
    assert options.kubernetes == KubernetesOptions(
        image="daskcast:1",
        namespace="a",
        idle_timeout=60,
        worker=PodOptions(cpu="2", memory="8Gi", secrets=("data",)),
    )


def test_flags_alone_are_enough():
    """All that a cluster needs can be said on the command line."""
    flags = {
        "h": 3, "cluster": "kubernetes", "image": "daskcast:1", "adaptive": "2:9",
        "worker_node_selector": (("disk", "ssd"),), "worker_tolerations": ("spot=true:NoSchedule",),
        "worker_service_account": "nobody", "pull_secrets": ("registry",),
    }  # fmt: skip
    _, options = resolve(flags)
    found = options.kubernetes
    assert (found.least, found.most) == (2, 9)
    assert found.worker.node_selector == {"disk": "ssd"}
    assert found.worker.service_account == found.scheduler.service_account == "nobody"
    assert found.pull_secrets == ("registry",)


PODS = [
    *(("image", "r/d:1", "--image"), ("namespace", "f", "--namespace"), ("spot", "a=b", "--spot")),
    *(("name", "mine", "--cluster-name"), ("worker_memory", "1Gi", "--worker-memory")),
    *(("pull_secrets", ("a",), "--pull-secret"), ("worker_secrets", ("a",), "--secret")),
    *(("worker_tolerations", ("a",), "--toleration"), ("idle_timeout", 9, "--idle-timeout")),
    ("start_timeout", 9.5, "--start-timeout"),
]


@pytest.mark.parametrize(("name", "value", "flag"), PODS)
def test_flags_of_pods_are_for_pods(name, value, flag):
    """Where they would be without effect, they are refused; each is called as it was given."""
    assert flag in {opt for param in main.commands["run"].params for opt in param.opts}
    for cluster in (None, "threads", "tcp://a:1"):
        with pytest.raises(ConfigError, match=f"^{flag} are for pods.*give --cluster kubernetes"):
            resolve({"h": 3, name: value, "cluster": cluster}, cluster="local")
    given = {"h": 3, "image": "r/d:1", "workers": 1, name: value, "cluster": "kubernetes"}
    assert resolve(given, cluster="local")


def test_a_file_serves_pods_and_one_machine(tmp_path):
    """Its table of pods is for those who ask for Kubernetes, and no harm to others."""
    (tmp_path / "run.toml").write_text(
        'horizon = 3\ncluster = "kubernetes"\nworkers = 1\n[kubernetes]\nimage = "r/d:1"\n'
    )
    config = str(tmp_path / "run.toml")
    assert resolve({"cluster": "local"}, config, cluster="local")[1].cluster == "local"
    found = resolve({"namespace": "f"}, config, cluster="local")[1]
    assert (found.cluster, found.kubernetes.namespace) == ("kubernetes", "f")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"worker": {"memory": "a lot"}}, "worker.memory must be such as 4Gi; found 'a lot'"),
        ({"worker": {"cpu": "two"}}, "worker.cpu must be such as 2 or 500m; found 'two'"),
        ({"worker": {"tolerations": ["a=b:Never"]}}, "the effect one of NoSchedule, Prefer"),
        ({"worker": {"memory": "0"}}, "worker.memory must be such as 4Gi; found '0'"),
        ({"worker": {"memory": "٤Gi"}}, "worker.memory must be such as 4Gi"),
        ({"worker": {"memory": "9" * 400 + "Gi"}}, "worker.memory must be such as 4Gi"),
        ({"worker": {"secrets": 3}}, "worker.secrets must be names of a to z"),
        ({"worker": {"secrets": [["a"]]}}, "worker.secrets must be names of a to z"),
        ({"worker": {"secrets": ["x; rm -rf /"]}}, "worker.secrets must be names of a to z"),
        ({"worker": {"tolerations": [1]}}, "worker.tolerations must be a list of texts"),
        ({"worker": {"memory": "4096"}}, "must be 32Mi at least, with its unit; found '4096'"),
        ({"driver": {"memory": "31Mi"}}, "driver.memory must be 32Mi at least"),
        ({"worker": {"cpu": "0"}}, "worker.cpu must be such as 2 or 500m; found '0'"),
        ({"worker": {"cpu": 0.0}}, "worker.cpu must be such as 2 or 500m; found '0.0'"),
        ({"worker": {"cpu": "0.0001"}}, "worker.cpu must be such as 2 or 500m"),
        ({"worker": {"secrets": ["a..b"]}}, "worker.secrets must be names of a to z"),
        ({"worker": {"secrets": ["a.-b"]}}, "worker.secrets must be names of a to z"),
        ({"worker": {"tolerations": ["a/b/c=!!"]}}, "must be KEY=VALUE:EFFECT"),
        ({"worker": {"tolerations": ["a/b=!!"]}}, "must be KEY=VALUE:EFFECT"),
        ({"worker": {"tolerations": ["ü"]}}, "must be KEY=VALUE:EFFECT"),
        ({"worker": {"node_selector": {"a//b": "x"}}}, "worker.node_selector must hold"),
        ({"worker": {"node_selector": {"A.b/c": "x"}}}, "worker.node_selector must hold"),
        ({"worker": {"node_selector": {"x" * 64: "x"}}}, "worker.node_selector must hold"),
        ({"spot": "ü=ö"}, "kubernetes.spot must be LABEL=VALUE"),
        ({"spot": "-x=-y-"}, "kubernetes.spot must be LABEL=VALUE"),
        ({"spot": "a/b/c=d"}, "kubernetes.spot must be LABEL=VALUE"),
        ({"worker": {"env": {"A": 1}}}, "numbers in quotes); found 'A' = 1"),
        ({"worker": {"env": {"A B": "1"}}}, "worker.env must hold names and texts"),
        ({"worker": {"node_selector": {"disk": "a b"}}}, "worker.node_selector must hold"),
        ({"worker": {1: 2}}, "kubernetes.worker has unknown options 1"),
        ({"pull_secrets": 3}, "kubernetes.pull_secrets must be names of a to z"),
        ({"idle_timeout": 10**20}, "idle_timeout must be at most"),
        ({"worker": {"gpu": 1}}, "kubernetes.worker has unknown options gpu"),
        ({"scheduler": 3}, "kubernetes.scheduler must be a table, found 3"),
        ({"replicas": 3}, "kubernetes has unknown options replicas"),
        ({"namespace": "../x"}, "kubernetes.namespace must be the name of a namespace"),
        ({"name": "Ü"}, "kubernetes.name must be a name of a to z"),
        ({"image": "a b"}, "kubernetes.image must be an image"),
        ({"adaptive": "9:2"}, "MIN at least 1 and at most MAX, found 9:2"),
        ({"adaptive": "0:2"}, "MIN at least 1 and at most MAX, found 0:2"),
        ({"adaptive": "many"}, "kubernetes.adaptive must be MIN:MAX"),
        ({"spot": "spot"}, "kubernetes.spot must be LABEL=VALUE"),
        ({"idle_timeout": 0}, "idle_timeout must be a whole number of at least 1"),
        ("image", "kubernetes must be a table of options"),
    ],
)
def test_wrong_options_are_named(asked, told):
    """A message says which option, what was expected and what was found."""
    with pytest.raises(ConfigError, match=re.escape(told)):
        RunOptions(kubernetes=asked)


@pytest.mark.parametrize("part", ["scheduler", "worker", "driver"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
        ("DB", "Server=x;Password=hunter2;"),
        ("DB_PASSWORD", 42),
    ],
)
def test_a_secret_is_no_variable(part, name, text):
    """It would stand in a manifest: so say all ways to a cluster, and none repeats it."""
    pods = {"image": "r/d:1", part: {"env": {name: text, "AWS_REGION": "eu"}}}
    with pytest.raises(ConfigError) as caught:
        RunOptions(cluster="kubernetes", workers=1, kubernetes=pods)
    with pytest.raises(ConfigError), kubernetes(workers=1, **pods):
        pass
    told = str(caught.value)
    assert f"{part}.env" in told
    assert name in told
    assert "hunter2" not in told
    assert "42" not in told
    assert "AWS_REGION" not in told
    assert isinstance(text, int) or f"name that in {part}.secrets" in told


@pytest.mark.parametrize("command", ["run", "backtest"])
def test_commands_refuse_a_secret_variable(command, tmp_path):
    """Before anything is asked or read."""
    file = tmp_path / "run.toml"
    file.write_text(
        'horizon = 3\nworkers = 1\n[kubernetes]\nimage = "r/d:1"\n'
        '[kubernetes.worker.env]\nAWS_SECRET_ACCESS_KEY = "hunter2"\n'
    )
    args = [command, "s3://a/b", "--cluster", "kubernetes", "--config", str(file)]
    done = CliRunner().invoke(main, [*args, "--out", "s3://a/r"])
    assert done.exit_code == 2
    assert "a credential in worker.env would stand in a manifest" in done.output
    assert "hunter2" not in done.output


def test_all_problems_at_once():
    """One message for the pods and for the run."""
    with pytest.raises(ConfigError) as caught:
        RunOptions(cluster="nowhere", kubernetes={"worker": {"memory": "x"}, "image": " "})
    assert len(caught.value.problems) == 3


def test_a_cluster_needs_an_image_and_a_number():
    """Without them there is nothing to start; a cluster that exists has both."""
    with pytest.raises(ConfigError) as caught:
        RunOptions(cluster="kubernetes")
    assert len(caught.value.problems) == 2
    assert RunOptions(cluster="kubernetes", kubernetes={"name": "there"}).kubernetes.name == "there"
    assert RunOptions(kubernetes={"image": "x", "adaptive": "1:2"})


def test_what_kubernetes_takes_is_taken():
    """Labels with and without a prefix, empty values, names with dots, thousandths of a core."""
    pod = PodOptions(
        cpu="0.001", memory="32Mi", secrets=("a.b-c", "4"), config_maps=("x" * 253,),
        node_selector={"node.kubernetes.io/lifecycle": "", "A_b.c": "9", "x" * 63: "y" * 63},
        tolerations=("a", "a.b/C=", "a=b:NoExecute", "a:NoSchedule"),
    )  # fmt: skip
    for spot in ("a=", "a.b/C=d", "life=spot"):
        assert KubernetesOptions(worker=pod, spot=spot).worker == pod


@pytest.mark.parametrize("amount", ["1Gi", "1024Mi", "1048576Ki", "1073741824"])
def test_memory_is_read(amount):
    """All ways to write the same amount."""
    assert in_bytes(amount) == 2**30


def test_the_commands_are_those_of_today():
    """No name that distributed has dropped; limits and threads are said, not guessed."""
    options = KubernetesOptions(image="i", worker=PodOptions(memory="4Gi"))
    found = containers_of(cluster_manifest("c", options, n_workers=3, n_threads=2))
    assert found["scheduler"]["args"][:2] == ["dask", "scheduler"]
    args = found["worker"]["args"]
    assert args[:2] == ["dask", "worker"]
    assert args[args.index("--nthreads") + 1] == "2"
    assert args[args.index("--memory-limit") + 1] == str(memory_limit(options.worker))
    assert memory_limit(options.worker) < 4 * 2**30
    assert found["worker"]["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"},
    }  # fmt: skip
    env = names_of(found["scheduler"]["env"])
    assert env["DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION"] == "1.0"


def test_spot_nodes_are_for_workers_alone():
    """Workers tolerate and prefer them; the scheduler keeps away; others' settings stay apart."""
    options = KubernetesOptions(
        image="i", spot="life=spot", worker=PodOptions(env={"A": "1"}, secrets=("s",))
    )
    spec = cluster_manifest("c", options, n_workers=1)["spec"]
    worker, scheduler = spec["worker"]["spec"], spec["scheduler"]["spec"]
    assert worker["tolerations"] == [{"key": "life", "operator": "Equal", "value": "spot"}]
    assert "tolerations" not in scheduler
    required = scheduler["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert required["nodeSelectorTerms"][0]["matchExpressions"] == [
        {"key": "life", "operator": "NotIn", "values": ["spot"]}
    ]
    assert names_of(worker["containers"][0]["env"])["A"] == "1"
    assert "A" not in names_of(scheduler["containers"][0]["env"])
    assert "envFrom" not in scheduler["containers"][0]


def test_pods_have_no_token_and_no_way_up():
    """Nothing in a worker may talk to the cluster, write to its image or become root."""
    spec = cluster_manifest("c", KubernetesOptions(image="i"), n_workers=1)["spec"]
    for part in ("scheduler", "worker"):
        pod = spec[part]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        secure = pod["containers"][0]["securityContext"]
        assert secure["readOnlyRootFilesystem"] is True
        assert secure["allowPrivilegeEscalation"] is False
        assert secure["capabilities"] == {"drop": ["ALL"]}


def test_pods_log_lines_of_json(capsys, monkeypatch):
    """Loggers of Dask and of daskcast alike, whatever the text holds; credentials are left out."""
    names = ("", "daskcast", "distributed")
    before = [
        (logger, list(logger.handlers), logger.level, logger.propagate)
        for logger in map(logging.getLogger, names)
    ]
    try:
        preload.dask_setup(None)
        logging.getLogger("distributed.worker").warning("a\nb https://me:word@host/x")
        logging.getLogger("daskcast.task").info("done")
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["logger"] for record in records] == ["distributed.worker", "daskcast.task"]
    assert records[0]["message"].startswith("a\nb https://")
    assert "word" not in records[0]["message"]
