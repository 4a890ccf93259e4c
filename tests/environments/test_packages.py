"""What the model's code can count on: the packages are there and do what they are there for."""

import subprocess
from pathlib import Path

import pytest

from sanderling.environments import environment, lock
from sanderling.environments.environment import Environment
from sanderling.sandbox.spawner import DEFAULT_PRELOAD
from tests.environments.test_lock import requirements

# What they are called where that is not how they are imported.
MODULES = {
    "xgboost-cpu": "xgboost", "imbalanced-learn": "imblearn", "scikit-learn": "sklearn",
    "scikit-image": "skimage", "pillow": "PIL", "pillow-heif": "pillow_heif",
    "vl-convert-python": "vl_convert", "opencv-python-headless": "cv2",
    "python-docx": "docx", "python-pptx": "pptx", "beautifulsoup4": "bs4", "pyyaml": "yaml",
    "python-bidi": "bidi", "faker": "faker", "ipython": "IPython", "pyshp": "shapefile",
    "odfpy": "odf", "fpdf2": "fpdf", "pypdf2": "PyPDF2",
}  # fmt: skip

CONVERSIONS = {
    "excel to json": """
        pd.DataFrame({"a": [1, 2]}).to_excel("t.xlsx", index=False)
        assert pd.read_excel("t.xlsx").to_json(orient="records") == '[{"a":1},{"a":2}]'
    """,
    "excel with a chart": """
        with pd.ExcelWriter("t.xlsx", engine="xlsxwriter") as w:
            pd.DataFrame({"a": [1, 2]}).to_excel(w, sheet_name="S")
            chart = w.book.add_chart({"type": "column"})
            chart.add_series({"values": "=S!$B$2:$B$3"})
            w.sheets["S"].insert_chart("D2", chart)
        import openpyxl
        assert len(openpyxl.load_workbook("t.xlsx")["S"]._charts) == 1
    """,
    "pdf to csv": """
        from reportlab.platypus import SimpleDocTemplate, Table
        from reportlab.lib import colors
        grid = [("GRID", (0, 0), (-1, -1), 1, colors.black)]
        SimpleDocTemplate("t.pdf").build([Table([["a", "b"], ["1", "2"]], style=grid)])
        import pdfplumber, pypdf
        with pdfplumber.open("t.pdf") as pdf:
            assert pdf.pages[0].extract_tables() == [[["a", "b"], ["1", "2"]]]
        assert "1" in pypdf.PdfReader("t.pdf").pages[0].extract_text()
    """,
    "parquet": """
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet("t.parquet")
        assert pd.read_parquet("t.parquet")["b"].tolist() == ["x", "y"]
    """,
    "word": """
        import docx
        d = docx.Document(); d.add_paragraph("Hello"); d.save("t.docx")
        assert docx.Document("t.docx").paragraphs[0].text == "Hello"
    """,
    "image cropping": """
        from PIL import Image
        Image.new("RGB", (90, 60)).crop((0, 0, 30, 20)).save("t.jpg")
        assert Image.open("t.jpg").size == (30, 20)
    """,
    "schema validation": """
        import jsonschema
        try:
            jsonschema.validate({"email": 1}, {"properties": {"email": {"type": "string"}}})
        except jsonschema.ValidationError as error:
            assert "is not of type 'string'" in error.message
        else:
            raise AssertionError
    """,
    "regression": """
        import numpy as np
        from sklearn.linear_model import LinearRegression
        assert round(LinearRegression().fit([[1], [2], [3]], [2, 4, 6]).coef_[0], 6) == 2
    """,
}


def run(python: Path, code: str, folder: Path) -> str:
    done = subprocess.run(
        [python, "-B", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def modules() -> list[str]:
    """What the requirements of the default profile are imported as."""
    wanted = requirements(lock.REQUIREMENTS) | requirements(lock.SOURCE_REQUIREMENTS)
    return sorted(MODULES.get(name, name.replace("-", "_")) for name in wanted)


def test_every_package_can_be_imported(guest_env: Environment, tmp_path):
    if guest_env.lock_digest is None or environment.profile_in(guest_env.path) == "classic":
        pytest.skip("this environment has other packages")
    code = f"import warnings; warnings.simplefilter('ignore')\nimport {', '.join(modules())}"

    assert run(guest_env.python, code, tmp_path) == ""


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversion(name, guest_python, tmp_path):
    code = "if True:\n        import pandas as pd" + CONVERSIONS[name]

    assert run(guest_python, code, tmp_path) == ""


def test_matplotlibs_font_cache_is_there(guest_env: Environment):
    if guest_env.lock_digest is None:
        pytest.skip("SANDERLING_ENV names an environment that Sanderling did not build")

    assert [path.suffix for path in guest_env.mpl_config.glob("fontlist*")] == [".json"]


def test_importing_what_is_preloaded_starts_no_thread(guest_python, tmp_path):
    """The zygote forks after these imports, and a fork loses threads."""
    imported = f"import os, {', '.join(DEFAULT_PRELOAD)}"
    code = f"{imported}; assert len(os.listdir('/proc/self/task')) == 1"
    one_thread = (
        "import os; os.environ['JE_ARROW_MALLOC_CONF'] = 'background_thread:false'\n"
        "os.environ['OPENBLAS_NUM_THREADS'] = os.environ['OMP_NUM_THREADS'] = '1'"
    )

    assert run(guest_python, f"{one_thread}\n{code}", tmp_path) == ""
