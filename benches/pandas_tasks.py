"""The five-step way of the published pipeline, for comparing cost: pandas reads the whole note table once per task.

Written from the rules of the published tasks, not from their code; it makes samples of the same form, but its seconds and
memory are what it is for. Needs pandas below 2.

    python pandas_tasks.py MIMIC3_FOLDER OUT TASK     TASK: mortality, length_of_stay, diagnoses, procedures

Prints one JSON object: task, rows of the note table, samples, seconds, peak resident MiB.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import pandas as pd

SECTIONS = {
    "CHIEF COMPLAINT": "chief complaint:",
    "PRESENT ILLNESS": "present illness:",
    "MEDICAL HISTORY": "medical history:",
    "MEDICATION ON ADMISSION": "medications on admission:",
    "ALLERGIES": "allergies:",
    "PHYSICAL EXAM": "physical exam:",
    "FAMILY HISTORY": "family history:",
    "SOCIAL HISTORY": "social history:",
}
DIED = r"(?:had |has )?(?:expired|died|passed away|deceased)"


def table(folder, name, columns, **options):
    path = next(p for p in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if p.exists())
    return pd.read_csv(path, usecols=columns, **options)


def admission_notes(folder, admissions):
    notes = table(folder, "NOTEEVENTS", ["ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CATEGORY", "DESCRIPTION", "TEXT"])
    rows = len(notes)
    grown = admissions[admissions["ADMISSION_TYPE"] != "NEWBORN"]["HADM_ID"]
    notes = notes[notes["HADM_ID"].isin(grown)].dropna(subset=["TEXT", "HADM_ID"])
    notes = notes[notes["CATEGORY"] == "Discharge summary"]
    notes = notes.sort_values(by="CHARTDATE").drop_duplicates(subset="TEXT", keep="last")
    text = notes.groupby("HADM_ID")["TEXT"].agg("\n\n".join).reset_index()
    about = notes[notes["DESCRIPTION"] == "Report"][["HADM_ID", "ROW_ID", "SUBJECT_ID", "CHARTDATE"]]
    notes = about.drop_duplicates(subset="HADM_ID", keep="last").merge(text, on="HADM_ID")
    notes["TEXT"] = notes["TEXT"].str.strip()
    for header, literal in SECTIONS.items():
        body = re.compile(rf"{literal}((?:.|\n)+?)\n\n[^(|.\\\d\n)]+?:", re.IGNORECASE)
        notes[header] = notes["TEXT"].str.extract(body, expand=False).fillna("").str.replace("\n", " ", regex=False).str.strip()
    main = notes[["CHIEF COMPLAINT", "PRESENT ILLNESS", "MEDICAL HISTORY"]]
    notes = notes[(main != "").any(axis=1)].copy()
    blocks = [header + ": " + notes[header] for header in SECTIONS]
    notes["text"] = blocks[0].str.cat(blocks[1:], sep="\n\n")
    return rows, notes[["SUBJECT_ID", "HADM_ID", "text"]]


def without_death(notes):
    first = re.compile(rf"((?:physical exam|medication on admission):[^\n]*?)(?:patient|pt)?\s+{DIED}", re.IGNORECASE)
    notes["text"] = notes["text"].str.replace(first, r"\1", regex=True)
    left = re.compile(rf"(?:patient|pt)\s+{DIED}|he expired|pronounced expired|time of death", re.IGNORECASE)
    return notes[~notes["text"].str.contains(left)]


def codes(folder, name, group, dtype):
    rows = table(folder, name, ["HADM_ID", "ICD9_CODE"], dtype={"ICD9_CODE": dtype}).dropna()
    rows["label"] = rows["ICD9_CODE"].astype(str).map(group)
    rows = rows.drop_duplicates(subset=["HADM_ID", "label"])
    return rows.groupby("HADM_ID")["label"].agg(",".join).reset_index()


def labels(folder, task, notes, admissions):
    if task == "diagnoses":
        of = codes(folder, "DIAGNOSES_ICD", lambda c: c[: 4 if c[0] in "VE" else 3], str)
    elif task == "procedures":
        of = codes(folder, "PROCEDURES_ICD", lambda c: c[:3], "Int64")
    elif task == "mortality":
        notes = without_death(notes)
        of = admissions.rename(columns={"HOSPITAL_EXPIRE_FLAG": "label"})[["HADM_ID", "label"]].dropna()
    else:
        alive = admissions[admissions["HOSPITAL_EXPIRE_FLAG"] != 1].copy()
        stay = pd.to_datetime(alive["DISCHTIME"]) - pd.to_datetime(alive["ADMITTIME"])
        days = (stay / pd.Timedelta(days=1)).round(1)
        alive["label"] = pd.cut(days, [float("-inf"), 3, 7, 14, float("inf")], labels=False)
        of = alive[["HADM_ID", "label"]].dropna()
    return notes.merge(of, on="HADM_ID")


def main():
    folder, out, task = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    began = time.perf_counter()
    columns = ["HADM_ID", "ADMISSION_TYPE", "ADMITTIME", "DISCHTIME", "HOSPITAL_EXPIRE_FLAG"]
    admissions = table(folder, "ADMISSIONS", columns)
    rows, notes = admission_notes(folder, admissions)
    samples = labels(folder, task, notes, admissions).rename(columns={"HADM_ID": "id"})
    patients = samples["SUBJECT_ID"].drop_duplicates().sample(frac=1, random_state=123)
    cuts = [0, int(len(patients) * 0.7), int(len(patients) * 0.8), len(patients)]
    out.mkdir(parents=True, exist_ok=True)
    for split, low, high in zip(("train", "val", "test"), cuts, cuts[1:]):
        part = samples[samples["SUBJECT_ID"].isin(patients.iloc[low:high])].sample(frac=1, random_state=123)
        part[["id", "text", "label"]].to_csv(out / f"{task}_{split}.csv", index=False, quoting=1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "task": task, "rows": rows, "samples": len(samples),
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }))


if __name__ == "__main__":
    main()
