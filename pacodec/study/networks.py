"""Which networks the table has, how each is trained, and in what smaller form it could be shipped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pacodec.errors import UsageError

LEVELS = 16
"""Of learned quantization, and of the quantizers that it is compared with: half the bits of the study's codes."""
LEARNED_SUFFIX = "-learned"
COMPACT_RANK = 64


@dataclass(frozen=True)
class Network:
    """One network of the table."""

    name: str
    arch: str
    hyperparameters: Mapping[str, int] = field(default_factory=dict)
    compact: Mapping[str, int] | None = None
    """Hyper-parameters of the compact form; None where the network is small as it is."""
    share: float = 0.0
    """Of the minutes that all networks have; 0 where the start is the result."""
    base: str | None = None
    """The network that this one goes on from."""
    batch: int = 16

    @property
    def closed_form(self) -> bool:
        """Whether the network is computed, not trained by gradient: PCA, and the networks that start there.

        The best linear autoencoder is PCA (Bourlard, Kamp 1988), and a ReLU that never cuts is linear. From there 40
        steps of Adam (vanilla-500, rates 2e-6, 1e-5 and 5e-5) lost 0.1 to 0.3 dB, and 30 steps through 16 levels
        (rates 2e-5, 2e-4, and 1e-3 for the levels alone) 0.1 to 4 dB; longer runs have not been tried.
        """
        return not self.share


def _connected(name: str, rank: int) -> Network:
    return Network(name, name, {"rank": rank}, {"rank": COMPACT_RANK})


def _learned(base: str, arch: str, hyperparameters: Mapping[str, int] | None = None, share: float = 0.0) -> Network:
    levels = {**(hyperparameters or {}), "levels": LEVELS}
    return Network(base + LEARNED_SUFFIX, arch, levels, share=share, base=base)


NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        Network("pca-1000", "pca", {"rank": 1000}, {"rank": COMPACT_RANK}),
        Network("pca-500", "pca", {"rank": 500}, {"rank": COMPACT_RANK}),
        _connected("vanilla-1000", 0),
        _connected("vanilla-500", 0),
        _connected("multilayer-1000", 256),
        _connected("multilayer-500", 256),
        Network("conv4", "conv4", share=0.18),
        Network("conv5", "conv5", share=0.42),
        Network("vae", "vae", {"rank": 0}, {"rank": 256}, share=0.2, batch=32),
        _learned("vanilla-500", "vanilla-500", {"rank": 0}),
        _learned("multilayer-500", "multilayer-500", {"rank": 256}),
        _learned("conv4", "conv4", share=0.06),
        _learned("conv5", "conv5", share=0.08),
        _learned("vae", "vae", {"rank": 0}, share=0.06),
    )
}


@dataclass(frozen=True)
class Row:
    """One row of the table: a network and a quantizer."""

    network: Network
    quantizer: str
    """none, naive, scale, kmeans, or learned."""
    levels: int = 256

    @property
    def name(self) -> str:
        """The name of the row, as `--rows` takes it."""
        return f"{self.network.name}/{self.quantizer}" + (f"-{self.levels}" if self.levels < 256 else "")


def _rows() -> list[Row]:
    rows = []
    for network in NETWORKS.values():
        if network.base is not None:
            base = NETWORKS[network.base]
            rows += [Row(base, quantizer, LEVELS) for quantizer in ("scale", "kmeans")]
            rows.append(Row(network, "learned", LEVELS))
        else:
            rows += [Row(network, quantizer) for quantizer in ("none", "naive", "scale", "kmeans")]
    return rows


ROWS = _rows()


def select(names: str | None) -> list[Row]:
    """The rows of comma-separated names of networks, or of network/quantizer; all for None. UsageError for others."""
    if names is None:
        return ROWS
    chosen = []
    for name in names.split(","):
        found = [row for row in ROWS if name in (row.name, row.network.name)]
        if not found:
            raise UsageError(f"no row {name!r}; there are {', '.join(NETWORKS)}, each with /QUANTIZER if not all")
        chosen += found
    return [row for row in ROWS if row in chosen]
