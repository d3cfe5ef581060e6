"""Makes tests/golden/pictures: small pictures in the variants of their formats that this program's own encoders cannot write.

    pip install pillow; python tests/reference/make_pictures.py
"""

from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parent.parent / "golden" / "pictures"
OUT.mkdir(exist_ok=True)

rgb = Image.new("RGB", (24, 17))
rgb.putdata([(x * 10, y * 15, x * y % 256) for y in range(17) for x in range(24)])
exif = Image.Exif()
exif[0x0112] = 6
rgb.save(OUT / "progressive_exif.jpg", progressive=True, subsampling=2, exif=exif)
rgb.convert("CMYK").save(OUT / "adobe_cmyk.jpg")
rgb.save(OUT / "lossy.webp", quality=50)
rgb.save(OUT / "lzw.tif", compression="tiff_lzw")
palette = rgb.quantize(7)
palette.save(OUT / "palette.bmp")
palette.save(OUT / "palette.png")
