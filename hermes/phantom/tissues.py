"""What each tissue looks like to each scanner: one table, from which every contrast is computed.

Values are rounded from textbook ranges at 1.5 T and 120 kV (ASSUME: one number per tissue stands
for a population). ASSUME: the gain in HU by contrast agent is about a third more than a typical
arterial and portal phase give, so that small networks learn from it in some hundred steps.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """One row: CT number and its gain by contrast agent, MR relaxation, fat share, FDG uptake."""

    hu: float  # HU without contrast agent
    arterial: float  # HU gained in the arterial phase
    portal: float  # HU gained in the portal venous phase
    t1: float  # ms
    t2: float  # ms
    protons: float  # density relative to water
    fat: float  # share of the signal that comes from fat
    suv: float  # standardised uptake value of FDG


_ROWS = """
air               -1000    0    0  1000   50  0.00  0.00   0.0
lung               -840    5   10  1200   30  0.10  0.00   0.5
airway             -990    0    0  1000   50  0.00  0.00   0.2
skin                 20    5   10   500   40  0.70  0.20   0.7
fat                -105    0    2   300   70  0.95  0.95   0.3
inner_fat           -98    0    4   310   70  0.92  0.90   0.4
muscle               52    5   12   950   36  0.82  0.03   0.8
cortical_bone       750    0    0   800   10  0.12  0.00   0.9
spongy_bone         190    5   15   480   65  0.65  0.50   1.6
disc                 90    0    5   950   80  0.75  0.00   0.8
cartilage           140    0    5  1000   45  0.75  0.00   0.8
tooth              1300    0    0   800    8  0.05  0.00   0.6
blood                44  300  200  1450  180  0.92  0.00   1.7
venous_blood         44   60  190  1450  170  0.92  0.00   1.7
heart_muscle         45   70   95   960   46  0.84  0.02   3.6
fluid                 8    0    2  3000  500  1.00  0.00   0.6
bile                  6    0    2  2300  420  1.00  0.00   0.8
urine                 4    0    4  3200  420  1.00  0.00  12.0
csf                   6    0    0  3800 1200  1.00  0.00   1.0
gray_matter          40    2    6  1250   98  0.86  0.00   9.0
white_matter         28    1    4   750   76  0.74  0.00   4.0
nerve                32    0    8   800   75  0.78  0.05   2.5
eye_fluid            10    0    0  3500  900  1.00  0.00   1.0
lens                 95    0    0  1100   35  0.75  0.00   1.0
pituitary            50   60  100   650   75  0.86  0.00   3.0
parotid             -20   10   20   520   70  0.90  0.45   1.8
gland                60   25   45   800   70  0.88  0.05   1.9
liver                60   18   72   590   44  0.84  0.06   2.4
spleen               48   95   98  1050   80  0.86  0.00   1.9
kidney_cortex        34  190  190   930   80  0.88  0.01   3.2
kidney_medulla       31   70  165  1350  115  0.92  0.01   3.4
pancreas             40   80   58   560   54  0.88  0.10   1.6
adrenal              30   60   70   680   62  0.86  0.10   1.6
stomach_wall         40   40   55  1000   58  0.86  0.02   2.2
stomach_content      18    0    0  2400  220  0.95  0.02   1.0
esophagus            36   22   40   980   56  0.85  0.02   1.7
bowel_wall           38   30   40  1000   58  0.86  0.03   2.6
bowel_content        18    0    2  1500  130  0.85  0.05   1.5
prostate             42   30   45  1150   95  0.88  0.02   1.9
uterus               48   60   75  1150   95  0.88  0.01   1.9
ear_bone            980    0    0   800   10  0.10  0.00   0.8
liver_tumor          32    8   12  1150   92  0.90  0.01   5.0
kidney_tumor         30    8   10  1350  125  0.92  0.02   4.0
pancreas_tumor       26    8   10  1150   95  0.90  0.00   4.5
lesion               42   15   25  1150   90  0.90  0.00  10.0
"""

TISSUES: dict[str, Tissue] = {
    name: Tissue(*map(float, values))
    for name, *values in (line.split() for line in _ROWS.strip().splitlines())
}
