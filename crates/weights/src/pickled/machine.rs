//! A pickle machine that can build tensors and nothing else.
//!
//! A pickle is a program. This one knows the instructions and names that `torch.save` writes for a dictionary of tensors,
//! and refuses every other one by its name, before anything comes of it. Values live in one list and point to each other by
//! number, so that no depth of nesting costs stack, and no program makes more of them than it has instructions.

use crate::limits::MOST_AXES;
use safetensors::tensor::Dtype;
use std::collections::HashMap;

/// A pickle of this many instructions is no model: one tensor takes about thirty.
const MOST_INSTRUCTIONS: usize = 1 << 20;
/// Names in error messages are cut here.
const SHOWN: usize = 80;

/// Why a pickle is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It asks for an instruction or a name that no weights need.
    Refused(String),
    /// It is damaged, or not of the expected form.
    Wrong(String),
}

pub(super) type Result<T, E = Problem> = std::result::Result<T, E>;

pub(super) fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(Problem::Wrong(what.into()))
}

fn refused<T>(what: impl Into<String>) -> Result<T> {
    Err(Problem::Refused(what.into()))
}

/// Number of a value in the machine's list.
pub(super) type Id = u32;

/// The names that may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    Storage(Dtype),
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Global> {
        Ok(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Global::Storage(Dtype::I64),
            ("torch", "IntStorage") => Global::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
            ("torch", "CharStorage") => Global::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
            _ => return refused(shown(&format!("{module} {name}"))),
        })
    }
}

/// The values that one or many tensors lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    pub count: usize,
}

/// A tensor: places in a storage, counted in values. Its last place is inside of the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
    /// Behind its last place; not more than the storage has.
    pub end: usize,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float,
    Text(&'a str),
    Global(Global),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(Storage<'a>),
    Tensor(View<'a>),
}

/// What a pickle made.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Runs the pickle that begins at `from`.
    pub fn run(bytes: &'a [u8], from: usize) -> Result<(Machine<'a>, Id)> {
        let mut m = Machine { bytes, at: from, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
        for _ in 0..MOST_INSTRUCTIONS {
            if let Some(end) = m.step()? {
                return Ok((m, end));
            }
        }
        wrong(format!("its pickle has more than {MOST_INSTRUCTIONS} instructions, which no model needs"))
    }

    /// Where the pickle ended.
    pub fn end(&self) -> usize {
        self.at
    }

    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// Every storage that was named.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.values.iter().filter_map(|v| if let Value::Storage(s) = v { Some(s) } else { None })
    }

    /// One instruction; the result, if it was the last.
    fn step(&mut self) -> Result<Option<Id>> {
        let [code] = self.array()?;
        match code {
            0x80 => match self.array()? {
                [2 | 3] => {}
                [version] => return wrong(format!("its pickle has version {version}, torch writes 2")),
            },
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.number(i32::from_le_bytes)?,
            b'K' => self.number(u8::from_le_bytes)?,
            b'M' => self.number(u16::from_le_bytes)?,
            0x8a => self.long()?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Float);
            }
            // Python 2 wrote its names as byte strings.
            b'X' | b'T' => self.text(u32::from_le_bytes)?,
            b'U' => self.text(u8::from_le_bytes)?,
            b')' => self.push(Value::Tuple(vec![])),
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(code - 0x84));
                self.tuple(from)?;
            }
            b't' => {
                let mark = self.mark()?;
                self.tuple(Some(mark))?;
            }
            b'a' => self.append(1)?,
            b'e' => {
                let count = self.stack.len() - self.mark()?;
                self.append(count)?;
            }
            b's' => self.set_items(2)?,
            b'u' => {
                let count = self.stack.len() - self.mark()?;
                self.set_items(count)?;
            }
            b'q' => self.put(u8::from_le_bytes)?,
            b'r' => self.put(u32::from_le_bytes)?,
            b'h' => self.get(u8::from_le_bytes)?,
            b'j' => self.get(u32::from_le_bytes)?,
            b'c' => self.global()?,
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            other => return refused(instruction(other)),
        }
        Ok(None)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many were taken"))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return wrong("its pickle ends in the middle");
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn push(&mut self, value: Value<'a>) {
        // Fewer than `MOST_INSTRUCTIONS`.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        // What lies below a mark is not this instruction's.
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => Ok(self.stack.pop().expect("it is not empty")),
            false => wrong("its pickle takes more values than it made"),
        }
    }

    fn mark(&mut self) -> Result<usize> {
        self.marks.pop().map_or_else(|| wrong("its pickle closes what it did not open"), Ok)
    }

    /// The values from `from` on.
    fn taken(&mut self, from: Option<usize>) -> Result<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match from.filter(|from| (floor..=self.stack.len()).contains(from)) {
            Some(from) => Ok(self.stack.split_off(from)),
            None => wrong("its pickle takes more values than it made"),
        }
    }

    fn number<T: Into<i128>, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<()> {
        let number = read(self.array()?).into();
        self.push(Value::Int(number));
        Ok(())
    }

    fn long(&mut self) -> Result<()> {
        let [length] = self.array()?;
        let taken = self.take(length.into())?;
        if taken.len() > 16 {
            return wrong("its pickle holds a number of more than 128 bits");
        }
        let fill = if taken.last().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
        let mut all = [fill; 16];
        all[..taken.len()].copy_from_slice(taken);
        self.push(Value::Int(i128::from_le_bytes(all)));
        Ok(())
    }

    fn text<T: Into<i128>, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<()> {
        let length = usize::try_from(read(self.array()?).into()).unwrap_or(usize::MAX);
        let Ok(text) = std::str::from_utf8(self.take(length)?) else {
            return wrong("its pickle holds text that is not UTF-8");
        };
        self.push(Value::Text(text));
        Ok(())
    }

    fn tuple(&mut self, from: Option<usize>) -> Result<()> {
        let items = self.taken(from)?;
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, count: usize) -> Result<()> {
        let items = self.taken(self.stack.len().checked_sub(count))?;
        match self.top()? {
            Value::List(list) => list.extend(items),
            _ => return wrong("its pickle appends to what is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, count: usize) -> Result<()> {
        let items = self.taken(self.stack.len().checked_sub(count))?;
        if !items.len().is_multiple_of(2) {
            return wrong("its pickle has a key without a value");
        }
        match self.top()? {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return wrong("its pickle sets items of what is no dictionary"),
        }
        Ok(())
    }

    fn top(&mut self) -> Result<&mut Value<'a>> {
        match self.stack.last() {
            Some(id) => Ok(&mut self.values[*id as usize]),
            None => wrong("its pickle takes more values than it made"),
        }
    }

    fn put<T: Into<u32>, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<()> {
        let place = read(self.array()?).into();
        let id = self.pop()?;
        self.stack.push(id);
        self.memo.insert(place, id);
        Ok(())
    }

    fn get<T: Into<u32>, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<()> {
        let place = read(self.array()?).into();
        match self.memo.get(&place) {
            Some(id) => self.stack.push(*id),
            None => return wrong(format!("its pickle recalls value {place}, which it did not keep")),
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|b| *b == b'\n') else {
            return wrong("its pickle ends in the middle");
        };
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).or_else(|_| wrong("its pickle holds a name that is not UTF-8"))
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(Global::named(module, name)?));
        Ok(())
    }

    /// `("storage", type, key, device, count)`, with a `None` behind it in the older form.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let unknown = || wrong("its pickle refers to something that is no storage of values");
        let Value::Tuple(parts) = self.value(id) else { return unknown() };
        let (&[kind, class, key, _, count] | &[kind, class, key, _, count, _]) = &parts[..] else { return unknown() };
        let whole = parts.get(5).is_none_or(|id| matches!(self.value(*id), Value::None));
        match (self.value(kind), self.value(class), self.value(key), self.value(count)) {
            (Value::Text("storage"), Value::Global(Global::Storage(dtype)), Value::Text(key), Value::Int(count))
                if whole =>
            {
                let storage = Storage { key, dtype: *dtype, count: size(*count)? };
                self.push(Value::Storage(storage));
                Ok(())
            }
            _ => unknown(),
        }
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments), Value::Global(function)) = (self.value(arguments), self.value(function)) else {
            return wrong("its pickle calls what is no function");
        };
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.push(Value::Dict(vec![])),
            (Global::RebuildParameter, [tensor, _, _]) if matches!(self.value(*tensor), Value::Tensor(_)) => {
                let tensor = *tensor;
                self.stack.push(tensor);
            }
            (
                Global::RebuildTensor,
                [storage, offset, dims, strides, _, _] | [storage, offset, dims, strides, _, _, _],
            ) => {
                let view = self.view(*storage, *offset, *dims, *strides)?;
                self.push(Value::Tensor(view));
            }
            _ => return wrong("its pickle builds a tensor from parts of another form"),
        }
        Ok(())
    }

    fn view(&self, storage: Id, offset: Id, dims: Id, strides: Id) -> Result<View<'a>> {
        let (Value::Storage(storage), Value::Int(offset)) = (self.value(storage), self.value(offset)) else {
            return wrong("its pickle builds a tensor from what is no storage of values");
        };
        let (offset, dims, strides) = (size(*offset)?, self.sizes(dims)?, self.sizes(strides)?);
        match reach(offset, &dims, &strides, storage.count) {
            Some(end) => Ok(View { storage: *storage, offset, dims, strides, end }),
            None => {
                wrong(format!("a tensor of shape {dims:?} does not fit into the {} values that it has", storage.count))
            }
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let of = |id: &Id| if let Value::Int(n) = self.value(*id) { size(*n) } else { wrong("a length is no number") };
        match self.value(id) {
            Value::Tuple(items) if items.len() <= MOST_AXES => items.iter().map(of).collect(),
            _ => wrong("a tensor's shape is no list of lengths"),
        }
    }

    /// Attributes of a dictionary, such as `_metadata`, are not weights; nothing else has any.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => refused("BUILD of an object"),
        }
    }
}

/// Behind the last place of a tensor in a storage of `count` values. `None` if it is not inside, or if the tensor repeats
/// values: it would be larger than anything that was read.
fn reach(offset: usize, dims: &[usize], strides: &[usize], count: usize) -> Option<usize> {
    if dims.len() != strides.len() {
        return None;
    }
    if dims.contains(&0) {
        return Some(0);
    }
    let values = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    let mut steps = dims.iter().zip(strides).map(|(d, s)| (d - 1).checked_mul(*s));
    let last = steps.try_fold(offset, |n, s| n.checked_add(s?))?;
    (values <= count && last < count).then_some(last + 1)
}

impl View<'_> {
    /// True if its values follow each other without a gap.
    pub fn is_dense(&self) -> bool {
        // An empty tensor has no values to be out of order.
        if self.dims.contains(&0) {
            return true;
        }
        let mut expected = 1;
        self.dims.iter().zip(&self.strides).rev().all(|(d, s)| {
            let fits = *d == 1 || *s == expected;
            expected *= d;
            fits
        })
    }
}

fn size(n: i128) -> Result<usize> {
    usize::try_from(n).or_else(|_| wrong(format!("{n} is no length")))
}

/// A name from a file, for an error message.
pub(super) fn shown(name: &str) -> String {
    let cut: String = name.chars().take(SHOWN).collect();
    cut.escape_debug().to_string()
}

/// The names that Python's documentation has for instructions that are refused.
fn instruction(code: u8) -> String {
    #[rustfmt::skip]
    const NAMES: &[(u8, &str)] = &[
        (b'0', "POP"), (b'1', "POP_MARK"), (b'2', "DUP"), (b'F', "FLOAT"), (b'I', "INT"), (b'L', "LONG"),
        (b'P', "PERSID"), (b'S', "STRING"), (b'V', "UNICODE"), (b'd', "DICT"), (b'i', "INST"), (b'g', "GET"),
        (b'l', "LIST"), (b'o', "OBJ"), (b'p', "PUT"), (b'B', "BINBYTES"), (b'C', "SHORT_BINBYTES"), (0x81, "NEWOBJ"),
        (0x82, "EXT1"), (0x83, "EXT2"), (0x84, "EXT4"), (0x8b, "LONG4"), (0x8c, "SHORT_BINUNICODE"),
        (0x8d, "BINUNICODE8"), (0x8e, "BINBYTES8"), (0x8f, "EMPTY_SET"), (0x90, "ADDITEMS"), (0x91, "FROZENSET"),
        (0x92, "NEWOBJ_EX"), (0x93, "STACK_GLOBAL"), (0x94, "MEMOIZE"), (0x95, "FRAME"), (0x96, "BYTEARRAY8"),
        (0x97, "NEXT_BUFFER"), (0x98, "READONLY_BUFFER"),
    ];
    match NAMES.iter().find(|(c, _)| *c == code) {
        Some((_, name)) => format!("instruction {name}"),
        None => format!("unknown instruction {code:#04x}"),
    }
}
