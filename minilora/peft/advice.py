"""What a folder holds that is not a checkpoint of PEFT, and what to do about it.

    adapter_model.bin        PEFT's older file, a Python pickle: reading it can run any code
    lora_unet_… .lora_down   the format of kohya's scripts, a single file with the α's in it
    … lora.up.weight         the format of diffusers, in part with … lora_A.weight
    checkpoint-500/          training saves the whole folder in folders like this

Nothing is read here but names of files and headers.
"""

import os
import re

from minilora.peft.checkpoint import ARRAYS
from minilora.peft.names import few
from minilora.peft.safetensors import parse_json
from minilora.peft.settings import CONFIG

UNFINISHED = "unfinished-"  # the beginning of the folder in which `write_peft` prepares its files
_FOREIGN = re.compile(
    r"lora_(unet|t[e12]+)_|.*lora(_linear_layer)?[_.](up|down)\.|(?!base_model\.).*\.lora_A\."
)


def instead_of_config(path):
    """What to do when this path has no configuration in it: "", or a sentence after a colon."""
    if not path.exists():
        return ": there is no such folder"
    folder = path if path.is_dir() else path.parent
    files = sorted(os.listdir(folder)) if path.is_dir() else [path.name]
    if any(name.startswith(UNFINISHED) for name in files):
        problem = "writing is not finished or was interrupted"
        return f": {problem}; the files before and after are in {UNFINISHED}…"
    if any(_foreign(folder / name) for name in files if name.endswith(".safetensors")):
        advice = "name its arrays as PEFT does and write the configuration (lesson 17), or convert"
        return f": this is a LoRA of kohya's scripts or of diffusers, not PEFT's. {advice} it there"
    if not path.is_dir():
        return ": give the folder that it is in, not a file"
    inside = [name for name in files if (folder / name / CONFIG).is_file()]
    if inside:
        return f", but there is one in {few(inside)}: give that folder"
    return f", but {few(files) or 'nothing'}"


def instead_of_arrays(folder):
    """What to do when this folder has a configuration but no arrays, as for `instead_of_config`."""
    files = sorted(os.listdir(folder))
    if "adapter_model.bin" in files:
        code = f'save_file(torch.load("adapter_model.bin", weights_only=True), "{ARRAYS}")'
        return f", but adapter_model.bin, a pickle, not read here: from safetensors.torch, {code}"
    return f", but {few(files)}"


def _foreign(path):
    """Whether the header of a file has the names of another format."""
    try:
        with open(path, "rb") as file:
            length = min(int.from_bytes(file.read(8), "little"), path.stat().st_size)
            names = parse_json(file.read(length).decode())
        return any(_FOREIGN.match(name) for name in names)
    except Exception:  # not in the format at all, whatever its name
        return False
