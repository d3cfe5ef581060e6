"""What every runtime is given: one checkpoint with random weights, one image, calibration images, and the f32 answer."""

import json
from pathlib import Path

import numpy as np

PATCH, PREFIX = 16, 5  # CLS and four registers come before the patches
SHAPES = {
    "s": dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536),
    "b": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}
SEED = 20250813
CALIBRATION_CROPS = 24


def atomically(path, write):
    """Calls `write` with a temporary name beside `path`, then renames: an interrupted run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("tmp-" + path.name)
    write(temporary)
    temporary.rename(path)
    return path


def fill(parameter, name, dim):
    """Random values under which nothing is an identity and attention is peaked (scores with a deviation above 1)."""
    if "norm" in name and name.endswith("weight"):
        parameter.normal_(1.0, 0.15).clamp_(0.4, 1.8)
    elif "lambda1" in name:  # LayerScale
        parameter.uniform_(0.1, 0.6)
    elif name.endswith(("q_proj.weight", "k_proj.weight")):
        parameter.normal_(0.0, 1.2 / dim**0.5)
    elif name.endswith(("cls_token", "register_tokens")):
        parameter.normal_(0.0, 0.5)
    elif name.endswith("bias"):
        parameter.normal_(0.0, 0.05)
    elif "mask_token" in name:
        parameter.zero_()
    else:
        parameter.normal_(0.0, parameter[0].numel() ** -0.5)


def checkpoint(work, model):
    """Folder with a Hugging Face checkpoint: `model` is s, b, or such a folder."""
    if model not in SHAPES:
        return Path(model)
    folder = work / model / "checkpoint"
    if (folder / "preprocessor_config.json").exists():
        return folder
    import torch
    from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

    torch.manual_seed(SEED)
    network = DINOv3ViTModel(DINOv3ViTConfig(num_register_tokens=4, **SHAPES[model]))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fill(parameter, name, network.config.hidden_size)
    network.save_pretrained(folder)
    DINOv3ViTImageProcessor().save_pretrained(folder)
    return folder


def network(folder):
    """The torch module: pixels [1, 3, R, R] -> last hidden state [1, tokens, dim]."""
    import torch
    from transformers import DINOv3ViTModel

    class LastHiddenState(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values):
            return self.inner(pixel_values=pixel_values).last_hidden_state

    model = DINOv3ViTModel.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    return LastHiddenState(model).eval()


def photographs():
    """RGB photographs that scikit-image ships; the first is the one that is timed, the rest calibrate."""
    import skimage.data
    from PIL import Image

    folder = Path(skimage.data.__file__).parent
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]
    images = [Image.open(path) for path in files]
    return [image for image in images if image.mode == "RGB" and min(image.size) >= 200]


def images(work, chosen=None):
    """(test image, calibration folder) as PNG files, so that every program reads the same ones."""
    folder = work / "images"
    test, calibration = folder / "test.png", folder / "calibration"
    if not calibration.exists():
        found = photographs()
        rng = np.random.default_rng(1)

        def write(temporary):
            temporary.mkdir(exist_ok=True)
            for k in range(CALIBRATION_CROPS):
                crop(found[1 + k % (len(found) - 1)], rng).save(temporary / f"{k:02}.png")

        folder.mkdir(parents=True, exist_ok=True)
        found[0].save(test)
        atomically(calibration, write)
    return Path(chosen) if chosen else test, calibration


def crop(image, rng):
    share = rng.uniform(0.45, 1.0)
    w, h = int(image.width * share), int(image.height * share)
    x, y = int(rng.integers(image.width - w + 1)), int(rng.integers(image.height - h + 1))
    return image.crop((x, y, x + w, y + h))


def pixels(files, size, options):
    """[n, 3, size, size]: through DINOv3's own image processor, with `options` of another model's."""
    from PIL import Image
    from transformers import DINOv3ViTImageProcessor

    processor = DINOv3ViTImageProcessor(size={"height": size, "width": size}, **options)
    tensors = [processor(Image.open(file).convert("RGB"), return_tensors="np")["pixel_values"] for file in files]
    return np.ascontiguousarray(np.concatenate(tensors), dtype=np.float32)


def preprocessing(folder):
    """What a preprocessor_config.json in `folder` says of normalising and resampling."""
    file = folder / "preprocessor_config.json"
    if not file.exists():
        return {}
    kept = ("do_normalize", "image_mean", "image_std", "do_rescale", "rescale_factor", "resample")
    return {key: value for key, value in json.loads(file.read_text()).items() if key in kept}


def reference(folder, inputs, out):
    """What transformers computes in f32 for `inputs` [1, 3, R, R], kept in `out`: last_hidden_state [1, tokens, dim]."""
    import torch

    with torch.inference_mode():
        tokens = network(folder)(torch.from_numpy(inputs)).numpy()

    def write(temporary):
        with temporary.open("wb") as file:
            np.savez(file, last_hidden_state=tokens)

    return atomically(out, write)
