"""Path kernels of the digits, and of 20,000 inputs in blocks; counts and kernels of convolutional networks."""

import subprocess
import sys

import numpy as np

import qcmap as qc

STREAMED = """
import resource
import numpy as np
import qcmap as qc

arch = qc.zoo.mlp(5, width=128, in_channels=64, out_channels=1)
random = np.random.default_rng(0)
gates = {name: random.random((20_000, 128)) < 0.5 for name in qc.paths.Units.of(arch).activations}
x = random.standard_normal((20_000, 64))
trace = sum(values.trace() for rows, columns, values in qc.paths.path_kernel_blocks(arch, gates, x) if rows == columns)
print(trace, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def digits():
    """The 1,797 digits and the gates of a ReLU network of 5 hidden layers of 128 with He's weights."""
    from sklearn.datasets import load_digits

    x = load_digits().data / 16
    arch = qc.zoo.mlp(5, width=128, in_channels=64, out_channels=1, activation="relu")
    weights = qc.paths.random_weights(
        arch, {name: (2 / shape[1]) ** 0.5 for name, shape in qc.paths.Units.of(arch).weights.items()}, kind="gaussian"
    )
    return arch, qc.paths.run_relu(arch, weights, x).gates, x


def test_path_kernel_of_the_digits(benchmark):
    """Reach: 0.3 s."""
    arch, gates, x = digits()
    kernel = benchmark.pedantic(qc.path_kernel, args=(arch, gates, x), rounds=7, warmup_rounds=1)
    assert kernel.shape == (1797, 1797)


def test_logarithm_of_it(benchmark):
    """With a power of two taken out of every layer."""
    arch, gates, x = digits()
    benchmark.pedantic(qc.paths.log_path_kernel, args=(arch, gates, x), rounds=3)


def test_20000_inputs_in_blocks(benchmark):
    """A process of its own, whose largest memory is asserted. Reach: 2 GB."""

    def streamed():
        return subprocess.run([sys.executable, "-c", STREAMED], capture_output=True, text=True, check=True).stdout

    _, kilobytes = benchmark.pedantic(streamed, rounds=1).split()
    scale = 1 if sys.platform == "darwin" else 1024
    benchmark.extra_info["gigabytes"] = int(kilobytes) * scale / 1e9
    assert int(kilobytes) * scale < 2e9


def test_path_kernel_of_a_residual_network(benchmark):
    """20 images of 3 x 32 x 32 through a Wide-ResNet of depth 16 with random gates: exact, no enumeration."""
    arch = qc.zoo.wide_resnet(depth=16, widen=2)
    units = qc.paths.Units.of(arch)
    random = np.random.default_rng(0)
    gates = {name: random.random((20, *units.shape(name))) < 0.5 for name in units.activations}
    x = random.standard_normal((20, *units.shape(arch.inputs[0])))
    benchmark.pedantic(qc.paths.log_path_kernel, args=(arch, gates, x), rounds=1)


def test_count_of_resnet_152(benchmark):
    """An integer of some 400 digits."""
    assert benchmark(lambda: qc.paths.count_paths(qc.zoo.resnet_v2(152))) > 10**300
