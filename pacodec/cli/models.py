"""`pacodec models`."""

from typing import Any

import click

from pacodec.cli import options
from pacodec.cli.run import print_json, say, size
from pacodec.errors import PacodecError
from pacodec.models import library as models
from pacodec.models.files import ModelFile


@click.command(epilog="Example: pacodec models")
@options.as_json
def command(as_json: bool) -> None:
    """List the models that encode can use, from your folder and from the package."""
    rows: list[dict[str, Any]] = []
    for path in models.paths():
        try:
            model = ModelFile.read(path)
        except PacodecError as error:
            say(f"warning: {error}")
            continue
        rows.append(
            {
                "name": model.name,
                "arch": model.info.arch,
                "bytes": len(model.data),
                "psnr": model.info.quality.get("psnr"),
                "sha256": model.sha256.hex(),
                "path": str(path),
                "training": dict(model.info.training),
            }
        )
    if as_json:
        print_json({"models": rows, "user_folder": str(models.user_folder())})
        return
    click.echo(f"{'name':16} {'arch':16} {'size':>9}  {'PSNR held out':>13}  sha256")
    for row in rows:
        psnr = f"{row['psnr']:.2f} dB" if isinstance(row["psnr"], int | float) else "unknown"
        click.echo(f"{row['name']:16} {row['arch']:16} {size(row['bytes']):>9}  {psnr:>13}  {row['sha256'][:16]}...")
    click.echo(f"your own: {models.user_folder()}")
