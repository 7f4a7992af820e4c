"""Small products laid out as their providers do."""

import json

import numpy as np
import rasterio
from conftest import write_raster
from rasterio.transform import from_origin

LANDSAT = "LC08_L1TP_140041_20160817_20200906_02_T1"
SAFE = "S2A_MSIL2A_20200909T065031_N0214_R077_T45RVL_20200909T083937"
PHR = "PHR1A_PMS_201408101046059_ORT_1234567101"


def mtl(product, *, bands, image=(), level="L1TP", quality=True):
    """The groups of an MTL of Collection 2."""
    files = {key: f"{product}_{name}.TIF" for key, name in bands.items()}
    if quality:
        files["FILE_NAME_QUALITY_L1_PIXEL"] = f"{product}_QA_PIXEL.TIF"
    return {
        "PRODUCT_CONTENTS": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_PRODUCT_ID": product,
            "PROCESSING_LEVEL": level,
            "COLLECTION_NUMBER": "02",
            **files,
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2016-08-17",
            "SCENE_CENTER_TIME": "04:41:56.2861760Z",
            "CLOUD_COVER": "12.34",
            "SUN_AZIMUTH": "-148.5",
            "SUN_ELEVATION": "58.25",
            **dict(image),
        },
        # Level 2 repeats the keys of the product that it was made of.
        "LEVEL1_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": "another", "FILE_NAME_BAND_3": "x.TIF"},
    }


def as_text(groups):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, values in groups.items():
        lines += [f"  GROUP = {name}", *(f'    {k} = "{v}"' for k, v in values.items())]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END"])


def ones(path, *, height=30, width=50, count=1, **place):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_raster(path, np.ones((count, height, width), np.uint16), **place)


def make_landsat(folder, product=LANDSAT, *, text=False, numbers=(4, 5), pan=False, **options):
    """A folder of Level 1 with some bands on disk; all are named by the MTL."""
    bands = {f"FILE_NAME_BAND_{n}": f"B{n}" for n in range(1, 12)}
    groups = mtl(product, bands=bands, **options)
    folder = folder / product
    for n in numbers:
        ones(folder / f"{product}_B{n}.TIF")
    if pan:
        # The centre of the first pixel is that of the others: half a pixel off.
        ones(
            folder / f"{product}_B8.TIF",
            height=59,
            width=99,
            pixel=15.0,
            origin=(500_007.5, 3_099_992.5),
        )
    ones(folder / f"{product}_QA_PIXEL.TIF")
    (folder / f"{product}_ANG.txt").write_text("GROUP = FILE_HEADER\nEND")
    if text:
        (folder / f"{product}_MTL.txt").write_text(as_text(groups))
    else:
        (folder / f"{product}_MTL.txt").write_text(as_text(groups))
        (folder / f"{product}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
    return folder


MTD = """<?xml version="1.0" encoding="UTF-8" standalone="no" ?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2020-09-09T06:50:31.024Z</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>2020-09-09T06:50:31.024Z</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{safe}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <Product_Organisation>
        <Granule_List>
          <Granule granuleIdentifier="S2A_OPER_MSI_L2A_TL" imageFormat="JPEG2000">
            {images}
          </Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
  </n1:General_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>7.5</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""
MTD_TL = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile.xsd">
  <n1:Geometric_Info><Tile_Angles>
    <Sun_Angles_Grid><Zenith/></Sun_Angles_Grid>
    <Mean_Sun_Angle>
      <ZENITH_ANGLE unit="deg">40.0</ZENITH_ANGLE>
      <AZIMUTH_ANGLE unit="deg">155.5</AZIMUTH_ANGLE>
    </Mean_Sun_Angle>
  </Tile_Angles></n1:Geometric_Info>
</n1:Level-2A_Tile_ID>
"""


def make_safe(folder, safe=SAFE, *, granule="L2A_T45RVL_A027243_20200909T070126"):
    """A Level 2A product: bands at 10, 20 and 60 m, and some of them coarser again."""
    top = folder / f"{safe}.SAFE"
    names = []
    for gsd, bands in ((10, "B02 B04"), (20, "B02 B04 B8A SCL"), (60, "B01 B04 SCL")):
        for band in bands.split():
            name = f"GRANULE/{granule}/IMG_DATA/R{gsd}m/T45RVL_20200909T065031_{band}_{gsd}m"
            names.append(name)
            path = top / f"{name}.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                path,
                "w",
                driver="JP2OpenJPEG",
                height=360 // gsd,
                width=720 // gsd,
                count=1,
                dtype="uint16",
                crs="EPSG:32645",
                transform=from_origin(399_960, 3_100_020, gsd, gsd),
            ) as raster:
                raster.write(np.ones((1, 360 // gsd, 720 // gsd), np.uint16))
    images = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in names)
    (top / "MTD_MSIL2A.xml").write_text(MTD.format(safe=safe, images=images))
    (top / "GRANULE" / granule / "MTD_TL.xml").write_text(MTD_TL)
    return top


INDEX = "<Raster_Index_List>{}</Raster_Index_List>"
DISPLAY = (
    "<Band_Display_Order><RED_CHANNEL>B2</RED_CHANNEL><GREEN_CHANNEL>B1</GREEN_CHANNEL>"
    "<BLUE_CHANNEL>B0</BLUE_CHANNEL><ALPHA_CHANNEL>B3</ALPHA_CHANNEL></Band_Display_Order>"
)
DIM = """<?xml version="1.0" encoding="UTF-8"?>
<Dimap_Document>
  <Metadata_Identification>
    <METADATA_FORMAT version="2.15">DIMAP</METADATA_FORMAT>
  </Metadata_Identification>
  <Dataset_Identification><DATASET_NAME>DS_{name}</DATASET_NAME></Dataset_Identification>
  <Dataset_Content><CLOUD_COVERAGE unit="percent">3</CLOUD_COVERAGE></Dataset_Content>
  <Raster_Data>
    <Data_Access><Data_Files>{files}</Data_Files></Data_Access>
    <Raster_Display>{order}
      <Special_Value>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_COUNT>0</SPECIAL_VALUE_COUNT>
      </Special_Value>
    </Raster_Display>
  </Raster_Data>
  <Geometric_Data><Use_Area><Located_Geometric_Values><Solar_Incidences>
    <SUN_AZIMUTH unit="deg">147.5</SUN_AZIMUTH><SUN_ELEVATION unit="deg">52.5</SUN_ELEVATION>
  </Solar_Incidences></Located_Geometric_Values></Use_Area></Geometric_Data>
  <Dataset_Sources><Source_Identification><Strip_Source>
    <MISSION>PHR</MISSION><MISSION_INDEX>1A</MISSION_INDEX>
    <IMAGING_DATE>2014-08-10</IMAGING_DATE><IMAGING_TIME>10:46:05.9Z</IMAGING_TIME>
  </Strip_Source></Source_Identification></Dataset_Sources>
</Dimap_Document>
"""
SPOT5 = """<?xml version="1.0" encoding="ISO-8859-1"?>
<Dimap_Document>
  <Metadata_Id><METADATA_FORMAT version="1.1">DIMAP</METADATA_FORMAT></Metadata_Id>
  <Dataset_Id><DATASET_NAME>SCENE 5 209-279 05/09/12 05:02:11 1 J</DATASET_NAME></Dataset_Id>
  <Image_Interpretation>
    <Spectral_Band_Info>
      <BAND_INDEX>1</BAND_INDEX><BAND_DESCRIPTION>XS3</BAND_DESCRIPTION>
    </Spectral_Band_Info>
    <Spectral_Band_Info>
      <BAND_INDEX>2</BAND_INDEX><BAND_DESCRIPTION>XS2</BAND_DESCRIPTION>
    </Spectral_Band_Info>
    <Spectral_Band_Info>
      <BAND_INDEX>3</BAND_INDEX><BAND_DESCRIPTION>XS1</BAND_DESCRIPTION>
    </Spectral_Band_Info>
    <Spectral_Band_Info>
      <BAND_INDEX>4</BAND_INDEX><BAND_DESCRIPTION>SWIR</BAND_DESCRIPTION>
    </Spectral_Band_Info>
  </Image_Interpretation>
  <Dataset_Sources><Source_Information><Scene_Source>
    <IMAGING_DATE>2005-09-12</IMAGING_DATE><IMAGING_TIME>05:02:11</IMAGING_TIME>
    <MISSION>SPOT</MISSION><MISSION_INDEX>5</MISSION_INDEX>
    <SUN_AZIMUTH>150.1</SUN_AZIMUTH><SUN_ELEVATION>60.2</SUN_ELEVATION>
  </Scene_Source></Source_Information></Dataset_Sources>
  <Data_Access><Data_File><DATA_FILE_PATH href="IMAGERY.TIF"/></Data_File></Data_Access>
</Dimap_Document>
"""


def make_pleiades(folder, name=PHR, *, order=DISPLAY, tiles=("R1C1",), placed=True):
    files = ""
    for column, tile in enumerate(tiles):
        raster = ones(
            folder / f"IMG_{name}_{tile}.TIF",
            count=4,
            pixel=0.5,
            crs="EPSG:32645" if placed else None,
            origin=(500_000 + 25 * column, 3_100_000),
        )
        files += (
            f'<Data_File tile_R="1" tile_C="{column + 1}"><DATA_FILE_PATH href="{raster.name}"/>'
            "</Data_File>"
        )
    path = folder / f"DIM_{name}.XML"
    path.write_text(DIM.format(name=name, files=files, order=order))
    return path


def make_spot5(folder):
    ones(folder / "IMAGERY.TIF", count=4, pixel=10.0)
    (folder / "METADATA.DIM").write_text(SPOT5, encoding="latin-1")
    return folder / "METADATA.DIM"
