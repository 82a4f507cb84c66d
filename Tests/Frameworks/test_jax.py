"""`qcodec.jax` with the real JAX and optax: pytrees, bfloat16, shards, and training that goes on in another process."""

import os
import subprocess
import sys
import textwrap

# Before JAX is imported: four devices on the CPU, so that arrays can be sharded.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import pytest  # noqa: E402

import qcodec  # noqa: E402
import qcodec.jax as qj  # noqa: E402


def state(optimizer, dtype=jnp.float32):
    """Parameters and an optimizer's state after some steps."""
    key = jax.random.PRNGKey(0)
    params = {"dense": {"kernel": jax.random.normal(key, (128, 64), dtype), "bias": jnp.zeros(64, dtype)}}
    opt = optimizer.init(params)
    for number in range(3):
        grads = jax.tree.map(lambda p: jax.random.normal(jax.random.PRNGKey(number), p.shape, p.dtype), params)
        updates, opt = optimizer.update(grads, opt, params)
        params = optax.apply_updates(params, updates)
    return {"params": params, "opt": opt, "step": 3}


def equal(left, right):
    """Whether two pytrees are equal in structure, types and bits."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right)):
        assert type(a) is type(b)
        if isinstance(a, jax.Array):
            assert a.dtype == b.dtype and a.shape == b.shape and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        else:
            assert a == b


def test_every_element_keeps_a_bound_on_updates(tmp_path):
    tree = state(optax.adam(1e-3))
    qj.save(tmp_path / "x.qckpt", tree, max_update_error="0.1rms")
    again = qj.load(tmp_path / "x.qckpt", like=tree)
    equal(tree["params"], again["params"])
    exact, got = (
        np.float64(x["opt"][0].mu["dense"]["kernel"]) / (np.sqrt(np.float64(x["opt"][0].nu["dense"]["kernel"])) + 1e-8)
        for x in (tree, again))
    assert 0 < np.max(np.abs(exact - got)) <= 0.1 * np.sqrt(np.mean(exact**2))
    with pytest.raises(qcodec.ArgumentError):
        qj.save(tmp_path / "x.qckpt", tree, "adam8", max_update_error="0.1rms")


@pytest.mark.smoke
def test_an_optax_state_comes_back_by_like(tmp_path):
    tree = state(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)))
    qj.save(tmp_path / "t.qckpt", tree, policy="lossless")
    equal(tree, qj.load(tmp_path / "t.qckpt", like=tree))
    qj.save(tmp_path / "t.qckpt", tree)
    names = {t.name: t for t in qcodec.inspect(tmp_path / "t.qckpt").tensors}
    assert names["opt/1/0/mu/dense/kernel"].domain == "update" and names["params/dense/kernel"].encoding == "lossless"
    loaded = qj.load(tmp_path / "t.qckpt", like=tree)
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    equal(tree["params"], loaded["params"])
    assert qcodec.verify(tmp_path / "t.qckpt").ok


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-3), optax.sgd(0.1, momentum=0.9), optax.rmsprop(1e-3), optax.lion(1e-4), optax.adafactor(1e-3),
        optax.adagrad(1e-2), optax.lamb(1e-3), optax.amsgrad(1e-3), optax.masked(optax.adam(1e-3), {"dense": {"kernel": True, "bias": False}}),
        optax.MultiSteps(optax.adam(1e-3), 2), optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
    ],
    ids=["adam", "sgd", "rmsprop", "lion", "adafactor", "adagrad", "lamb", "amsgrad", "masked", "multi", "inject"],
)
def test_states_of_every_kind(tmp_path, optimizer):
    tree = state(optimizer)
    qj.save(tmp_path / "t.qckpt", tree, policy="lossless")
    equal(tree, qj.load(tmp_path / "t.qckpt", like=tree))
    qj.save(tmp_path / "t.qckpt", tree)
    loaded = qj.load(tmp_path / "t.qckpt", like=tree)
    optimizer.update(tree["params"], loaded["opt"], loaded["params"])


def test_bfloat16_and_float8(tmp_path):
    tree = state(optax.adamw(1e-3), jnp.bfloat16) | {"f8": jnp.arange(8.0).astype(jnp.float8_e4m3fn)}
    qj.save(tmp_path / "t.qckpt", tree)
    loaded = qj.load(tmp_path / "t.qckpt", like=tree)
    assert loaded["params"]["dense"]["kernel"].dtype == jnp.bfloat16
    equal({"p": tree["params"], "f": tree["f8"]}, {"p": loaded["params"], "f": loaded["f8"]})
    assert qcodec.open(tmp_path / "t.qckpt")["opt/0/mu/dense/kernel"].dtype == "BF16"


def test_without_like_arrays_are_jaxs_and_tuples_have_names(tmp_path):
    tree = state(optax.adam(1e-3))
    qj.save(tmp_path / "t.qckpt", tree, policy="lossless")
    loaded = qj.load(tmp_path / "t.qckpt")
    assert isinstance(loaded["params"]["dense"]["kernel"], jax.Array) and loaded["step"] == 3
    assert type(loaded["opt"][0]).__name__ == "ScaleByAdamState" and loaded["opt"][0].count == 3


def test_registered_nodes_and_keys(tmp_path):
    @jax.tree_util.register_dataclass
    @__import__("dataclasses").dataclass
    class Train:
        params: dict
        key: jax.Array
        note: None = None

    tree = Train({"w": jnp.ones((3, 4))}, jax.random.key(5))
    qj.save(tmp_path / "t.qckpt", tree)
    loaded = qj.load(tmp_path / "t.qckpt", like=tree)
    assert isinstance(loaded, Train) and jnp.array_equal(loaded.params["w"], tree.params["w"])
    assert jnp.array_equal(jax.random.key_data(loaded.key), jax.random.key_data(tree.key))
    assert qj.load(tmp_path / "t.qckpt").keys() >= {"params", "key"}


def test_differences_are_listed(tmp_path):
    tree = state(optax.adam(1e-3))
    qj.save(tmp_path / "t.qckpt", tree)
    other = state(optax.adam(1e-3))
    other["params"]["dense"]["kernel"] = jnp.zeros((2, 2))
    other["params"]["dense"]["bias"] = jnp.zeros(64, jnp.bfloat16)
    with pytest.raises(qcodec.MismatchError) as caught:
        qj.load(tmp_path / "t.qckpt", like=other)
    assert sorted(d.split(":")[0] for d in caught.value.differences) == ["params/dense/bias", "params/dense/kernel"]


@pytest.mark.parametrize("spec", [("x", None), (None, "x"), ("x", "y"), (None, None), (("x", "y"), None)], ids=str)
def test_sharded_arrays_go_shard_by_shard(tmp_path, spec):
    mesh = jax.make_mesh((2, 2), ("x", "y"))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
    values = jax.random.normal(jax.random.PRNGKey(0), (256, 256))
    tree = {"exp_avg": jax.device_put(values, sharding), "exp_avg_sq": jax.device_put(values**2 + 1e-9, sharding)}
    qj.save(tmp_path / "t.qckpt", tree, policy="lossless")
    loaded = qj.load(tmp_path / "t.qckpt", like=tree)
    equal(tree, loaded)
    assert loaded["exp_avg"].sharding == sharding
    qj.save(tmp_path / "t.qckpt", tree)
    first = [t for t in qcodec.inspect(tmp_path / "t.qckpt").tensors if t.role == "first_moment"]
    assert len(first) == len({str(shard.index) for shard in tree["exp_avg"].addressable_shards})
    assert all(t.domain == "update" for t in first)
    # Read on one device what was saved on several.
    plain = {"exp_avg": jax.ShapeDtypeStruct((256, 256), jnp.float32), "exp_avg_sq": np.empty((256, 256), np.float32)}
    again = qj.load(tmp_path / "t.qckpt", like=plain)
    assert isinstance(again["exp_avg_sq"], np.ndarray) and jnp.abs(again["exp_avg"] - values).max() < 0.1


def test_training_goes_on_in_another_process(tmp_path):
    program = textwrap.dedent("""
        import sys, jax, jax.numpy as jnp, optax, qcodec.jax as qj
        first, last, load, save, policy = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
        optimizer = optax.adamw(1e-2)
        truth = jax.random.normal(jax.random.PRNGKey(9), (96, 64))
        params = {"w": jnp.zeros((96, 64))}
        opt = optimizer.init(params)
        if load != "-":
            state = qj.load(load, like={"params": params, "opt": opt})
            params, opt = state["params"], state["opt"]
        def loss(params, x):
            return jnp.mean((x @ params["w"] - x @ truth) ** 2)
        for step in range(first, last):
            x = jax.random.normal(jax.random.PRNGKey(step), (32, 96))
            value, grads = jax.value_and_grad(loss)(params, x)
            updates, opt = optimizer.update(grads, opt, params)
            params = optax.apply_updates(params, updates)
            print(float(value))
        if save != "-":
            qj.save(save, {"params": params, "opt": opt}, policy=policy)
    """)

    def run(first, last, load, save, policy="adam8"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(first), str(last), load, save, policy], capture_output=True, text=True,
            cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        return [float(line) for line in done.stdout.split()]

    straight = run(0, 40, "-", "-")
    for policy, tolerance in (("lossless", 0), ("adam8", 1e-3)):
        run(0, 20, "-", "state.qckpt", policy)
        resumed = run(20, 40, "state.qckpt", "-")
        # adam8 moves a single update by under a hundredth of itself.
        assert max(abs(a - b) for a, b in zip(resumed, straight[20:])) <= tolerance * straight[20]
