//! Discharge summaries of NOTEEVENTS, reports joined with their addenda, in bounded memory.
//!
//! The table is read once. Texts that pass the row filters go to an unnamed file; memory holds some 80 bytes for each of
//! them. Texts are read back admission by admission.

use super::admissions::{Admissions, Arrival, HINT};
use super::published_order::published_order;
use crate::error::{Error, Result};
use crate::ids::{HadmId, Moment, SubjectId};
use crate::prepare::filters::{self, Filter};
use crate::prepare::record::flow::FlowCounts;
use crate::prepare::record::irregularities::Irregularities;
use crate::prepare::rules::{Rules, Switch};
use crate::progress::{ProgressMeter, Work};
use crate::sections::{self, AdmissionNote};
use crate::table::{InputFile, Row, Table, is_missing};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotePart {
    Report,
    Addendum,
}

struct Piece {
    admission: HadmId,
    subject: SubjectId,
    row: u64,
    charted: Option<Moment>,
    kind: NotePart,
    offset: u64,
    length: u64,
    hash: [u8; 16],
    usability: Usability,
}

/// Whether a text may count under every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usability {
    Sound,
    Blank,
    MarkedAsError,
}

/// The discharge summaries of all admissions, ready to be read one after the other.
pub(in crate::prepare) struct Notes {
    spool: File,
    spool_path: PathBuf,
    pieces: Vec<Piece>,
    by_admission: BTreeMap<HadmId, Vec<usize>>,
    rules: Rules,
    read: FlowCounts,
    pub rows: FlowCounts,
    pub admissions: FlowCounts,
}

const HADM: usize = 0;
const SUBJECT: usize = 1;
const CHARTDATE: usize = 2;
const CATEGORY: usize = 3;
const DESCRIPTION: usize = 4;
const TEXT: usize = 5;
const ISERROR: usize = 6;
const CHARTTIME: usize = 7;

struct Spool {
    out: BufWriter<File>,
    path: PathBuf,
    length: u64,
}

impl Notes {
    /// Reads NOTEEVENTS; `folder_for_spool` takes the unnamed file. `on_note` sees every row, with the places
    /// of its admission, category and time.
    pub fn read(
        folder: &Path,
        folder_for_spool: &Path,
        rules: Rules,
        admissions: &Admissions,
        on_note: &mut dyn FnMut(&Row<'_>, [usize; 3]) -> Result<()>,
        irregularities: &mut Irregularities,
        meter: &ProgressMeter<'_>,
    ) -> Result<(Notes, InputFile)> {
        let required = ["HADM_ID", "SUBJECT_ID", "CHARTDATE", "CATEGORY", "DESCRIPTION", "TEXT"];
        let optional = ["ISERROR", "CHARTTIME"];
        let mut table = Table::open_in(folder, "NOTEEVENTS", &required, &optional, HINT)?;
        let mut spool = Spool::new(folder_for_spool)?;
        let mut read = FlowCounts::new("notes", filters::ROWS);
        let mut pieces = Vec::new();
        while let Some(row) = table.next_row()? {
            meter.row("NOTEEVENTS", &row, Work::Read)?;
            on_note(&row, [HADM, CATEGORY, CHARTTIME])?;
            match refused(&row, admissions, irregularities)? {
                Some(filter) => read.drop_by(filter),
                None => pieces.push(spool.take(&row)?),
            }
        }
        let undated = pieces.iter().filter(|p| p.charted.is_none()).count();
        irregularities.note_many("NOTEEVENTS: discharge summary without a date", undated as u64);
        let input = table.finish_some()?;
        meter.end(&input, Work::Read);
        let (spool, spool_path) = spool.close()?;
        let (rows, admissions) = (read.clone(), admission_flow());
        let by_admission = BTreeMap::new();
        let mut notes = Notes { spool, spool_path, pieces, by_admission, rules, read, rows, admissions };
        notes.apply(rules);
        Ok((notes, input))
    }

    /// Joins the texts by these rules and counts from the start; nothing is read again.
    pub fn apply(&mut self, rules: Rules) {
        self.rules = rules;
        self.rows = self.read.clone();
        self.admissions = admission_flow();
        self.by_admission = join_order(&self.pieces, rules, &mut self.rows);
    }

    /// The admissions that have a discharge summary, in order.
    pub fn ids(&self) -> Vec<HadmId> {
        self.by_admission.keys().copied().collect()
    }

    /// The patient and all texts of an admission, joined; `None` if it has addenda only.
    pub fn joined(&self, id: HadmId) -> Result<Option<(SubjectId, String)>> {
        let places = self.by_admission.get(&id).map(Vec::as_slice).unwrap_or_default();
        let mut from_the_end = places.iter().rev().map(|place| &self.pieces[*place]);
        let Some(report) = from_the_end.find(|piece| piece.kind == NotePart::Report) else {
            return Ok(None);
        };
        let mut joined = Vec::new();
        for (i, place) in places.iter().enumerate() {
            if i > 0 {
                joined.extend_from_slice(b"\n\n");
            }
            self.read_back(&self.pieces[*place], &mut joined)?;
        }
        // What was spooled passed through `str`, so nothing is replaced here.
        let joined = String::from_utf8(joined).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Ok(Some((report.subject, joined)))
    }

    fn read_back(&self, piece: &Piece, into: &mut Vec<u8>) -> Result<()> {
        let mut spool = &self.spool;
        let from = into.len();
        into.resize(from + piece.length as usize, 0);
        spool
            .seek(SeekFrom::Start(piece.offset))
            .and_then(|_| spool.read_exact(&mut into[from..]))
            .map_err(Error::at("read back", &self.spool_path))
    }
}

/// Cuts the admission note out of the joined texts; `None` if it lacks all main sections.
pub(in crate::prepare) fn cut(rules: Rules, joined: &str) -> Option<AdmissionNote> {
    let note = match rules.corrects(Switch::Sections) {
        true => sections::corrected(joined),
        false => sections::published(sections::strip(joined)),
    };
    note.is_usable().then_some(note)
}

/// Counts what becomes of admissions.
pub(in crate::prepare) fn admission_flow() -> FlowCounts {
    FlowCounts::new("notes", filters::ADMISSIONS)
}

/// The filter that refuses a row under all rules, in the published order of the filters.
fn refused(row: &Row<'_>, admissions: &Admissions, irregularities: &mut Irregularities) -> Result<Option<Filter>> {
    let Some(id) = row.number(HADM)? else {
        return Ok(Some(Filter::RowAdmission));
    };
    match admissions.get(&HadmId(id)) {
        Some(admission) if admission.arrival == Arrival::Other => {}
        Some(_) => return Ok(Some(Filter::RowAdmission)),
        None => {
            irregularities.note("NOTEEVENTS: admission that ADMISSIONS does not list");
            return Ok(Some(Filter::RowAdmission));
        }
    }
    if is_missing(row.text(TEXT)?.as_bytes()) {
        return Ok(Some(Filter::RowText));
    }
    if row.bytes(CATEGORY) != b"Discharge summary" {
        return Ok(Some(Filter::RowDischargeSummary));
    }
    Ok(None)
}

/// Drops what the rules do not use, sorts by date, drops all but the last of equal texts, and groups by admission.
fn join_order(pieces: &[Piece], rules: Rules, rows: &mut FlowCounts) -> BTreeMap<HadmId, Vec<usize>> {
    let mut order: Vec<usize> = Vec::with_capacity(pieces.len());
    for (place, piece) in pieces.iter().enumerate() {
        match piece.usability {
            Usability::Blank if rules.corrects(Switch::ErrorNotes) => rows.drop_by(Filter::RowText),
            Usability::MarkedAsError if rules.corrects(Switch::ErrorNotes) => rows.drop_by(Filter::RowNoError),
            _ => order.push(place),
        }
    }
    if rules.corrects(Switch::NoteOrder) {
        order.sort_by_key(|i| {
            let piece = &pieces[*i];
            let addendum = piece.kind == NotePart::Addendum;
            (piece.charted.is_none(), piece.charted, addendum, piece.row)
        });
    } else {
        let (dated, undated): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|i| pieces[*i].charted.is_some());
        let keys: Vec<_> = dated.iter().map(|i| pieces[*i].charted).collect();
        let sorted = published_order(&keys).into_iter().map(|i| dated[i]);
        order = sorted.chain(undated).collect();
    }
    let mut seen = HashSet::new();
    let mut kept = vec![false; pieces.len()];
    for place in order.iter().rev() {
        kept[*place] = seen.insert(pieces[*place].hash);
        if kept[*place] {
            rows.keep();
        } else {
            rows.drop_by(Filter::RowNotRepeated);
        }
    }
    let mut groups: BTreeMap<HadmId, Vec<usize>> = BTreeMap::new();
    for place in order.into_iter().filter(|p| kept[*p]) {
        groups.entry(pieces[place].admission).or_default().push(place);
    }
    groups
}

impl Spool {
    fn new(folder: &Path) -> Result<Spool> {
        let file = tempfile::tempfile_in(folder).map_err(Error::at("create a file in", folder))?;
        Ok(Spool { out: BufWriter::with_capacity(1 << 18, file), path: folder.into(), length: 0 })
    }

    fn take(&mut self, row: &Row<'_>) -> Result<Piece> {
        let text = row.text(TEXT)?;
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        let piece = Piece {
            admission: row.admission(HADM)?,
            subject: row.subject(SUBJECT)?,
            row: row.index(),
            charted: row.moment(CHARTDATE)?,
            kind: if row.bytes(DESCRIPTION) == b"Report" { NotePart::Report } else { NotePart::Addendum },
            offset: self.length,
            length: text.len() as u64,
            hash,
            usability: if text.trim().is_empty() {
                Usability::Blank
            } else if row.bytes(ISERROR).trim_ascii().starts_with(b"1") {
                Usability::MarkedAsError
            } else {
                Usability::Sound
            },
        };
        self.out.write_all(text.as_bytes()).map_err(Error::at("write to a temporary file in", &self.path))?;
        self.length += piece.length;
        Ok(piece)
    }

    fn close(self) -> Result<(File, PathBuf)> {
        let path = self.path;
        let file =
            self.out.into_inner().map_err(|e| Error::at("write to a temporary file in", &path)(e.into_error()))?;
        Ok((file, path))
    }
}
