"""
Every kind of file that people bring opens with the code a model would write, and can be written.

The files are made by the code itself, in one box with everything preloaded; what no library writes
any more (an old spreadsheet, an old letter) is put in by the test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.promises.boxes import OneBox, one_box
from tests.promises.old_word import word_document

__all__ = ["one_box"]
pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

SPREADSHEETS = {
    "xlsx": ("f.to_excel('t.xlsx', index=False)", "pd.read_excel('t.xlsx')"),
    "xlsx by xlsxwriter": (
        "f.to_excel('u.xlsx', index=False, engine='xlsxwriter')", "pd.read_excel('u.xlsx')"),
    "ods": ("f.to_excel('t.ods', index=False)", "pd.read_excel('t.ods')"),
    "ods by odf": ("f.to_excel('u.ods', index=False, engine='odf')",
                   "pd.read_excel('u.ods', engine='odf')"),
    "ods by calamine": ("f.to_excel('v.ods', index=False)",
                        "pd.read_excel('v.ods', engine='calamine')"),
    "parquet": ("f.to_parquet('t.parquet')", "pd.read_parquet('t.parquet')"),
    "parquet by pyarrow": ("f.to_parquet('u.parquet', engine='pyarrow')",
                           "pd.read_parquet('u.parquet', engine='pyarrow')"),
    "parquet by fastparquet": ("f.to_parquet('v.parquet', engine='fastparquet')",
                               "pd.read_parquet('v.parquet', engine='fastparquet')"),
    "parquet by polars": ("import polars as pl; pl.from_pandas(f).write_parquet('w.parquet')",
                          "pl.read_parquet('w.parquet').to_pandas()"),
    "parquet by duckdb": ("import duckdb; duckdb.sql(\"COPY f TO 'x.parquet'\")",
                          "duckdb.sql(\"SELECT * FROM 'x.parquet'\").df()"),
    "feather": ("f.to_feather('t.feather')", "pd.read_feather('t.feather')"),
    "hdf": ("f.to_hdf('t.h5', key='f')", "pd.read_hdf('t.h5')"),
    "csv": ("f.to_csv('t.csv', index=False)", "pd.read_csv('t.csv')"),
    "tsv": ("f.to_csv('t.tsv', index=False, sep='\\t')", "pd.read_csv('t.tsv', sep='\\t')"),
    "csv by pyarrow": ("f.to_csv('u.csv', index=False)",
                       "pd.read_csv('u.csv', dtype_backend='pyarrow', engine='pyarrow')"),
    "json": ("f.to_json('t.json', orient='records')", "pd.read_json('t.json')"),
    "pkl": ("f.to_pickle('t.pkl')", "pd.read_pickle('t.pkl')"),
    "html": ("f.to_html('t.html', index=False)", "pd.read_html('t.html', encoding='utf-8')[0]"),
    "xml": ("f.to_xml('t.xml', index=False)", "pd.read_xml('t.xml')"),
    "sqlite": (
        "import sqlite3; c = sqlite3.connect('t.sqlite'); f.to_sql('f', c, index=False)",
        "pd.read_sql('SELECT * FROM f', c)"),
    "stata": ("f.to_stata('t.dta', write_index=False, version=118)", "pd.read_stata('t.dta')"),
}  # fmt: skip

DOCUMENTS = {
    "docx": """
        import docx
        d = docx.Document(); d.add_heading('Hello'); d.add_table(1, 2).cell(0, 1).text = 'cell'
        d.save('t.docx'); d = docx.Document('t.docx')
        assert (d.paragraphs[0].text, d.tables[0].cell(0, 1).text) == ('Hello', 'cell')
        import docx2txt; assert 'cell' in docx2txt.process('t.docx')""",
    "pptx": """
        from pptx import Presentation
        p = Presentation(); s = p.slides.add_slide(p.slide_layouts[0]); s.shapes.title.text = 'Hi'
        p.save('t.pptx'); assert Presentation('t.pptx').slides[0].shapes.title.text == 'Hi'""",
    "pdf": """
        from reportlab.pdfgen import canvas
        c = canvas.Canvas('t.pdf'); c.drawString(99, 99, 'Hello PDF'); c.save()
        import pypdf, PyPDF2, pdfplumber, pymupdf
        assert 'Hello PDF' in pypdf.PdfReader('t.pdf').pages[0].extract_text()
        assert 'Hello PDF' in PyPDF2.PdfReader('t.pdf').pages[0].extract_text()
        assert 'Hello PDF' in pdfplumber.open('t.pdf').pages[0].extract_text()
        assert 'Hello PDF' in pymupdf.open('t.pdf')[0].get_text()
        assert pymupdf.open('t.pdf')[0].get_pixmap(dpi=30).width > 99
        import fpdf
        p = fpdf.FPDF(); p.add_page(); p.set_font('helvetica', size=12); p.cell(text='x')
        p.output('u.pdf')""",
    "html and xml": """
        open('p.html', 'w').write('<html><body><p class=a>One</p></body></html>')
        from bs4 import BeautifulSoup
        for parser in 'html.parser', 'lxml', 'html5lib':
            assert BeautifulSoup(open('p.html'), parser).p.text == 'One'
        open('p.xml', 'w').write('<a><b c="1">x</b></a>')
        import xml.etree.ElementTree as ET, lxml.etree, xmltodict
        assert ET.parse('p.xml').find('b').get('c') == '1'
        assert lxml.etree.parse('p.xml').xpath('string(//b)') == 'x'
        assert xmltodict.parse(open('p.xml').read())['a']['b']['@c'] == '1'""",
    "json, yaml, toml, md": """
        import json, yaml, toml, tomllib, markdown, markdown2
        open('p.json', 'w').write('{"a": [1]}'); assert json.load(open('p.json')) == {'a': [1]}
        open('p.yaml', 'w').write('a: [1]'); assert yaml.safe_load(open('p.yaml')) == {'a': [1]}
        open('p.toml', 'w').write('a = 1'); assert tomllib.load(open('p.toml', 'rb')) == {'a': 1}
        assert toml.load('p.toml') == {'a': 1}
        open('p.md', 'w').write('# T'); assert '<h1>' in markdown.markdown(open('p.md').read())
        assert '<h1>' in markdown2.markdown_path('p.md')""",
    "archives": """
        import os, shutil, tarfile, zipfile, py7zr
        os.makedirs('in', exist_ok=True); open('in/a.txt', 'w').write('packed')
        for kind in 'zip', 'tar', 'gztar', 'bztar', 'xztar':
            shutil.unpack_archive(shutil.make_archive('packed', kind, 'in'), f'out_{kind}')
            assert open(f'out_{kind}/a.txt').read() == 'packed'
        with zipfile.ZipFile('packed.zip') as z: assert z.read('a.txt') == b'packed'
        with tarfile.open('packed.tar') as t: assert './a.txt' in t.getnames()
        with py7zr.SevenZipFile('p.7z', 'w') as z: z.writeall('in')
        with py7zr.SevenZipFile('p.7z') as z: z.extractall('out_7z')
        assert open('out_7z/in/a.txt').read() == 'packed'""",
    "pictures": """
        from PIL import Image
        import cv2, imageio.v3 as iio, skimage.io, pillow_heif
        pillow_heif.register_heif_opener()
        for end in 'png jpg jpeg gif webp tiff bmp heic'.split():
            Image.new('RGB', (40, 30), (200, 0, 0)).save(f't.{end}')
            with Image.open(f't.{end}') as image: assert image.size == (40, 30), end
            if end not in {'gif', 'heic'}: assert cv2.imread(f't.{end}').shape == (30, 40, 3), end
            if end != 'heic': assert iio.imread(f't.{end}').shape[-3:-1] == (30, 40), end
        assert skimage.io.imread('t.png').shape == (30, 40, 3)
        import svgwrite; from svglib.svglib import svg2rlg
        d = svgwrite.Drawing('t.svg', size=(40, 30)); d.add(d.rect((0, 0), (9, 9))); d.save()
        assert svg2rlg('t.svg').width > 20""",
    "sound": """
        import numpy as np, soundfile as sf, wave
        wave_form = np.sin(np.arange(22050) / 10).astype('float32')
        for end in 'wav', 'flac', 'ogg', 'mp3':
            sf.write(f't.{end}', wave_form, 22050)
            assert sf.read(f't.{end}')[1] == 22050
        assert wave.open('t.wav').getframerate() == 22050
        import mutagen; assert 0.9 < mutagen.File('t.mp3').info.length < 1.2
        from pydub import AudioSegment; assert len(AudioSegment.from_wav('t.wav')) == 1000""",
    "maps": """
        import geopandas as gpd; from shapely.geometry import Point
        g = gpd.GeoDataFrame({'n': [1, 2]}, geometry=[Point(0, 0), Point(1, 1)], crs='EPSG:4326')
        for name in 't.geojson', 't.shp', 't.gpkg':
            g.to_file(name); assert gpd.read_file(name).n.sum() == 3
        assert round(g.to_crs(3857).geometry.x.max()) == 111319
        g.to_parquet('g.parquet'); assert len(gpd.read_parquet('g.parquet')) == 2
        import shapefile; assert len(shapefile.Reader('t.shp').shapes()) == 2""",
}  # fmt: skip

TEXT_KINDS = "c cs cpp java json md php py rb tex txt css js sh ts html xml csv".split()
# One piece of cp1252 and one of UTF-16 at least.
LETTER = ("Sehr geehrte Frau Müller,", "日本語 und Łódź – für 5 €", "Grüße")
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252")


def block(code: str) -> str:
    return "if True:" + code


@pytest.mark.parametrize("kind", SPREADSHEETS)
async def test_a_table_goes_out_and_comes_back(one_box: OneBox, kind: str):
    write, read = SPREADSHEETS[kind]
    said = await one_box.text(
        "import pandas as pd\nf = pd.DataFrame({'a': [1, 2], 'b': ['x', 'ü 日本']})\n"
        f"{write}\nback = {read}\nprint(back['a'].sum(), back['b'].tolist())"
    )

    *warnings, values = said.splitlines()
    assert values == "3 ['x', 'ü 日本']"
    assert not warnings or kind == "parquet by fastparquet"  # pandas gives that up, and says so


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_a_file_is_written_and_read(one_box: OneBox, kind: str):
    await one_box.text(block(DOCUMENTS[kind]))


async def test_tables_in_arrow_work_though_pyarrow_was_loaded_before_the_fork(one_box: OneBox):
    said = await one_box.text(
        "import pandas as pd, pyarrow as pa, pyarrow.compute as pc\n"
        "f = pd.DataFrame({'a': range(300_000), 'b': ['x', 'y', 'z'] * 100_000})\n"
        "t = pa.Table.from_pandas(f)\n"
        "print(pc.sum(t['a']).as_py(), t.group_by('b').aggregate([('a', 'max')]).num_rows,\n"
        "      f.convert_dtypes(dtype_backend='pyarrow')['b'].str.upper().nunique())"
    )

    assert said == "44999850000 3 3"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_text_of_every_kind_opens_in_every_encoding(one_box: OneBox, encoding: str):
    for kind in TEXT_KINDS:
        await one_box.put(f"{encoding}.{kind}", "naïve café\nGrün, 5 £\n".encode(encoding))
    code = f"""
        from charset_normalizer import from_path
        for kind in {TEXT_KINDS!r}:
            path = f'{encoding}.{{kind}}'
            assert open(path, encoding='{encoding}').read().startswith('naïve café'), kind
            assert from_path(path).best() is not None
        import pandas as pd
        assert pd.read_csv('{encoding}.csv', encoding='{encoding}').columns[0] == 'naïve café'"""
    await one_box.text(block(code))


@pytest.mark.parametrize("program", ["tesseract --version", "ffmpeg -version", "dot -V"])
async def test_a_program_of_the_system_runs_in_a_box(one_box: OneBox, program: str):
    if shutil.which(program.split(maxsplit=1)[0]) is None:
        pytest.skip(f"{program.split(maxsplit=1)[0]} is not installed")

    await one_box.text(f"import subprocess\nsubprocess.run({program.split()!r}, check=True)")


async def test_a_text_in_a_picture_is_read(one_box: OneBox):
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract is missing: apt install tesseract-ocr")
    said = await one_box.text(
        "from PIL import Image, ImageDraw, ImageFont\nimport pytesseract\n"
        "i = Image.new('RGB', (400, 80), 'white')\n"
        "ImageDraw.Draw(i).text((9, 9), 'Sanderling 42', 'black', ImageFont.load_default(40))\n"
        "print(pytesseract.image_to_string(i))"
    )

    assert "Sanderling 42" in said


async def test_writing_of_every_script_is_drawn_without_a_warning(one_box: OneBox):
    if not Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc").exists():
        pytest.skip("fonts are missing: apt install fonts-noto-cjk fonts-noto-core fonts-symbola")
    said = await one_box.text(
        "import warnings; before = warnings.filters[:]; warnings.simplefilter('error')\n"
        "import matplotlib.pyplot as plt, io, seaborn as sns\n"
        "for style in plt.style.use, lambda _: sns.set_theme():\n"
        "    style('default'); plt.title('日本語 中文 한국어 العربية 😀 ü')\n"
        "    plt.savefig(io.BytesIO()); plt.close()\n"
        "plt.rcdefaults(); warnings.filters[:] = before; print('drawn')"
    )

    assert said == "drawn"


async def test_fonts_were_looked_for_before_the_fork(one_box: OneBox):
    said = await one_box.text(
        "from matplotlib import font_manager, pyplot as plt; import io\n"
        "known = font_manager.FontManager._findfont_cached.cache_info().misses\n"
        "plt.title('日本語'); plt.savefig(io.BytesIO()); plt.close()\n"
        "font_manager.FontManager._findfont_cached.cache_info().misses - known"
    )

    assert said == "0"


async def test_an_old_spreadsheet_opens(one_box: OneBox):
    await one_box.put("old.xls", (Path(__file__).parent / "old.xls").read_bytes())
    said = await one_box.text("import pandas as pd\nprint(pd.read_excel('old.xls')['b'].tolist())")

    assert said == "['x', 'ü']"  # and no warning


async def test_an_old_letter_is_read_by_antiword(one_box: OneBox):
    if shutil.which("antiword") is None:
        pytest.skip("antiword is missing: apt install antiword")
    await one_box.put("letter.doc", word_document(*LETTER))
    said = await one_box.text(
        "import subprocess\n"
        "done = subprocess.run(['antiword', 'letter.doc'], capture_output=True, text=True)\n"
        "assert (done.returncode, done.stderr) == (0, ''), done\nprint(done.stdout)"
    )

    assert tuple(said.strip().splitlines()) == LETTER


async def test_an_old_letter_is_read_by_olefile(one_box: OneBox):
    await one_box.put("letter.doc", word_document(*LETTER))
    said = await one_box.text(
        "import olefile, struct\n"
        "assert olefile.isOleFile('letter.doc')\n"
        "with olefile.OleFileIO('letter.doc', raise_defects=olefile.DEFECT_POTENTIAL) as ole:\n"
        "    word = ole.openstream('WordDocument').read()\n"
        "    flags, = struct.unpack_from('<H', word, 0x0A)\n"
        "    table = ole.openstream('1Table' if flags & 0x200 else '0Table').read()\n"
        "at, size = struct.unpack_from('<II', word, 0x1A2)\n"
        "clx = table[at : at + size]\n"
        "assert clx[0] == 2\n"
        "pieces = (struct.unpack_from('<I', clx, 1)[0] - 4) // 12\n"
        "ends = struct.unpack_from(f'<{pieces + 1}I', clx, 5)\n"
        "assert ends[-1] == struct.unpack_from('<I', word, 0x4C)[0]\n"
        "text = ''\n"
        "for n in range(pieces):\n"
        "    place, = struct.unpack_from('<I', clx, 5 + 4 * (pieces + 1) + 8 * n + 2)\n"
        "    count = ends[n + 1] - ends[n]\n"
        "    if place & 0x40000000:\n"
        "        at = (place & 0x3FFFFFFF) // 2\n"
        "        text += word[at : at + count].decode('cp1252')\n"
        "    else:\n"
        "        text += word[place : place + 2 * count].decode('utf-16-le')\n"
        "print(text.replace('\\r', '\\n'))"
    )

    assert tuple(said.splitlines()) == LETTER


@pytest.mark.parametrize("module", ["ace_tools", "caas_jupyter_tools"])
async def test_a_table_for_the_user_is_shown_and_written(one_box: OneBox, module: str):
    shown = await one_box.shown(
        f"import pandas as pd, {module} as tools\n"
        "f = pd.DataFrame({'Stadt': ['Köln', 'Łódź'], 'n': [1, 2]})\n"
        f"tools.display_dataframe_to_user('Orte {module}', f);"
    )

    *others, table, ended = shown
    assert (others, ended.status) == ([], "ok")
    assert table.text.split() == ["Stadt", "n", "0", "Köln", "1", "1", "Łódź", "2"]
    assert "<td>Łódź</td>" in dict(table.parts)["text/html"]
    assert [file.path for file in ended.changed] == [f"/mnt/data/Orte {module}.csv"]
    said = await one_box.text(f"print(open('/mnt/data/Orte {module}.csv').read())")
    assert said == "Stadt,n\nKöln,1\nŁódź,2"
