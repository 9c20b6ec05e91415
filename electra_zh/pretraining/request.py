"""The request of a pretraining command: data, recipe, and the source of the first weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining.config import Init
from electra_zh.runtime import device
from electra_zh.runtime.device import Device
from electra_zh.runtime.processes import Group
from electra_zh.settings import Settings, load_recipe, setting
from electra_zh.training.trackers import check_installed, tracker_names

if TYPE_CHECKING:
    from electra_zh.data.manifest import WeightedFolder


@dataclasses.dataclass(frozen=True)
class PretrainRequest(Settings):
    """Settings of `electra-zh pretrain`, in addition to those of the run."""

    output: str = setting(meaning="folder of the run", metavar="DIR")
    data: tuple[str, ...] = setting(
        (),
        "folders of build-data, or of shards; several may have weights, as A:3 B:1; a recipe may "
        "have it too; not needed to resume",
        metavar="DIR[:WEIGHT]",
    )
    config: str | None = setting(
        None,
        "recipe (nano, tiny, small, ...) or .yaml file; not needed to resume",
        metavar="RECIPE",
    )
    eval_data: tuple[str, ...] = setting(
        (),
        "held-out data, evaluated at every checkpoint; a resumed run keeps what it had",
        metavar="DIR",
    )
    vocab: str | None = setting(
        None, "vocabulary file, for shards without a manifest", metavar="FILE"
    )
    init: str | None = setting(
        None,
        "model that a new run starts from: a run, a fine-tuned model, a Hugging Face folder or a "
        "TF1 checkpoint, ELECTRA or BERT; model=source takes its size too",
        metavar="SOURCE",
    )
    init_layers: str | None = setting(
        None, "layers to take from it: first:3, or 0,5,11", metavar="LAYERS"
    )
    generator: str | None = setting(
        None,
        "model whose masked LM draws the fakes of a new run and is not trained: a released "
        "generator, a BERT or a run, with the vocabulary of the data; see temperature_start",
        metavar="SOURCE",
    )
    keep_optimizer: bool = setting(
        False, "take the optimizer's moments from --init too; the steps start at 0"
    )
    device: str = setting(
        "auto",
        "device that trains; auto: an accelerator if JAX has one, else the CPU; pjrt:cpu runs the "
        "accelerators' program on the CPU",
        choices=device.NAMES,
    )
    devices: int | None = setting(None, "number of devices to use; by default all", at_least=1)
    coordinator: str | None = setting(
        None,
        "address of the first of several processes that train together; not needed under Slurm "
        "and on TPU pods",
        metavar="HOST:PORT",
    )
    num_processes: int | None = setting(None, "number of these processes", at_least=1)
    process_id: int | None = setting(None, "number of this process, from 0", at_least=0)
    program: str | None = setting(
        None,
        "run of `electra-zh export-step`, trained by JAX without TensorFlow",
        metavar="PROGRAM",
    )
    compiled: str | None = setting(
        None,
        "folder of `electra-zh compile --output`, whose step is used where device, versions and "
        "settings match",
        metavar="DIR",
    )
    track: tuple[str, ...] = setting(
        (),
        "trackers that get the settings and the metrics too; each is an extra",
        choices=tracker_names,
        metavar="NAME",
    )
    tpu: bool = setting(False, "short for --device tpu")
    skip_corrupt: bool = setting(
        False, "skip damaged records, and count them; the same ones when a run is resumed"
    )
    debug_numerics: bool = setting(
        False, "say of each skipped step which layer was the first with NaN or infinite numbers"
    )

    def check_together(self) -> None:
        """Checks the recipe, the data and the flags of --init, before TensorFlow is loaded."""
        if self.config is not None:
            load_recipe(self.config, kind="pretrain")
        self.folders()
        self.eval_folders()
        self.first_weights()
        check_installed(self.track)
        if self.tpu and self.device not in ("auto", "tpu"):
            raise UsageError(f"--tpu and --device {self.device} exclude each other")
        self._group().check()
        if self.coordinator is not None and (self.devices is not None or self.device == "cpu"):
            flag = "--devices" if self.devices is not None else "--device cpu"
            raise UsageError(f"{flag} and --coordinator exclude each other")

    def _group(self) -> Group:
        return Group(self.coordinator, self.num_processes, self.process_id)

    def choose_device(self) -> Device:
        """Returns the devices that train, after connecting several processes."""
        name, by_jax = "tpu" if self.tpu else self.device, self.program is not None
        return device.choose(name, most=self.devices, by_jax=by_jax, group=self._group())

    def folders(self) -> tuple[WeightedFolder, ...]:
        """Returns the training data; raises UsageError without any."""
        from electra_zh.data.manifest import parse_folders

        words = self.data or self._of_recipe("data") or self._of_run()
        if not words:
            raise UsageError("required settings are missing: --data")
        return parse_folders(words, flag="--data")

    def eval_folders(self) -> tuple[str, ...]:
        """Returns the folders of held-out data."""
        from electra_zh.data.manifest import parse_folders

        found = parse_folders(self.eval_data or self._of_recipe("eval_data"), flag="--eval-data")
        if any(each.weight is not None for each in found):
            raise UsageError("--eval-data takes no weights: all of it is evaluated. Remove them")
        return tuple(each.folder for each in found)

    def _of_run(self) -> tuple[str, ...]:
        """Returns the folders that a run in the output folder trains on."""
        from electra_zh.convert import model_folder

        found = model_folder.is_run(self.output)
        return tuple(model_folder.load(self.output).train_data) if found else ()

    def _of_recipe(self, key: str) -> tuple[str, ...]:
        """Returns the folders that the recipe has under a key."""
        if self.config is None:
            return ()
        given = load_recipe(self.config, kind="pretrain").get(key, [])
        words: list[str] = []
        for item in given if isinstance(given, list) else [given]:
            # `- data: 3` is a mapping to YAML, `- data:3` a text.
            words += [f"{k}:{v}" for k, v in item.items()] if isinstance(item, Mapping) else [item]
        wrong = [word for word in words if not isinstance(word, str)]
        if wrong:
            raise UserError(f"Recipe {self.config}: {key} must be folders; received {wrong[0]!r}")
        return tuple(words)

    def foreign_generator(self) -> Init | None:
        """Returns the source of a generator that is not trained; None for the run's own."""
        return Init(self.generator.rstrip("/")) if self.generator else None

    def first_weights(self) -> Init | None:
        """Returns the source of a new run's first weights; None for random ones."""
        layers = self.init_layers
        if self.init is None:
            if layers is not None or self.keep_optimizer:
                flag = "--init-layers" if layers is not None else "--keep-optimizer"
                raise UsageError(f"{flag} needs a model to start from. Add --init SOURCE.")
            return None
        source = self.init.rstrip("/") or self.init
        if layers is None:
            return Init(source, keep_optimizer=self.keep_optimizer)
        if self.keep_optimizer:
            raise UsageError("--keep-optimizer takes all layers. Remove --init-layers.")
        first, colon, count = layers.partition(":")
        if colon and first == "first" and count.isdecimal() and int(count) > 0:
            return Init(source, tuple(range(int(count))))
        words = [word.strip() for word in layers.split(",")]
        if not all(word.isdecimal() for word in words):
            raise UsageError(
                f'--init-layers is "{layers}"; allowed: first:3, or numbers from 0, such as 0,5,11'
            )
        return Init(source, tuple(map(int, words)))
