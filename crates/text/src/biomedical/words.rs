//! Words of medical papers by kind; those of a specialty have its name before theirs.

use crate::prose::Lexicon;

/// A specialty and the names of its lists.
pub(super) struct Field {
    pub specialty: &'static str,
    pub conditions: &'static str,
    pub drugs: &'static str,
    pub procedures: &'static str,
    pub markers: &'static str,
    pub tests: &'static str,
}

macro_rules! field {
    ($name:literal) => {
        Field {
            specialty: $name,
            conditions: concat!($name, " conditions"),
            drugs: concat!($name, " drugs"),
            procedures: concat!($name, " procedures"),
            markers: concat!($name, " markers"),
            tests: concat!($name, " tests"),
        }
    };
}

pub(super) const FIELDS: &[Field] = &[
    field!("cardiology"),
    field!("pulmonology"),
    field!("neurology"),
    field!("gastroenterology"),
    field!("nephrology"),
    field!("endocrinology"),
    field!("infectious diseases"),
    field!("oncology"),
    field!("orthopedics"),
    field!("psychiatry"),
];

#[rustfmt::skip]
pub(super) const LEXICON: Lexicon = &[
    ("cardiology conditions", &[
        "hypertension", "congestive heart failure", "atrial fibrillation", "coronary artery disease",
        "acute myocardial infarction", "aortic stenosis", "mitral regurgitation", "dilated cardiomyopathy",
        "deep vein thrombosis", "peripheral vascular disease", "abdominal aortic aneurysm", "cardiogenic shock",
        "unstable angina", "ventricular tachycardia", "aortic dissection", "pericarditis",
    ]),
    ("cardiology drugs", &[
        "metoprolol", "atenolol", "carvedilol", "lisinopril", "enalapril", "losartan", "valsartan", "amlodipine",
        "diltiazem", "verapamil", "furosemide", "spironolactone", "hydrochlorothiazide", "digoxin", "amiodarone",
        "warfarin", "heparin", "enoxaparin", "aspirin", "clopidogrel", "atorvastatin", "simvastatin", "nitroglycerin",
        "hydralazine", "dobutamine",
    ]),
    ("cardiology procedures", &[
        "coronary artery bypass grafting", "percutaneous coronary intervention", "cardiac catheterization",
        "aortic valve replacement", "mitral valve repair", "pacemaker implantation", "catheter ablation",
        "carotid endarterectomy", "endovascular aneurysm repair", "intra-aortic balloon pump placement",
        "electrical cardioversion", "defibrillator implantation",
    ]),
    ("cardiology markers", &[
        "troponin T", "brain natriuretic peptide", "creatine kinase", "D-dimer",
        "low-density lipoprotein cholesterol", "homocysteine", "fibrinogen", "C-reactive protein",
    ]),
    ("cardiology tests", &[
        "echocardiography", "coronary angiography", "electrocardiography", "Doppler ultrasonography",
        "exercise testing", "Holter monitoring",
    ]),
    ("pulmonology conditions", &[
        "chronic obstructive pulmonary disease", "asthma", "community-acquired pneumonia",
        "acute respiratory distress syndrome", "pulmonary fibrosis", "pleural effusion", "pulmonary embolism",
        "pneumothorax", "sleep apnea", "acute respiratory failure", "aspiration pneumonitis",
        "pulmonary hypertension", "bronchiectasis",
    ]),
    ("pulmonology drugs", &[
        "albuterol", "ipratropium", "tiotropium", "prednisone", "methylprednisolone", "theophylline", "fluticasone",
        "montelukast", "azithromycin", "levofloxacin", "ceftriaxone", "cisatracurium", "propofol",
    ]),
    ("pulmonology procedures", &[
        "mechanical ventilation", "endotracheal intubation", "tracheostomy", "thoracentesis", "bronchoscopy",
        "chest tube placement", "noninvasive ventilation", "video-assisted thoracoscopic surgery",
        "lung transplantation", "pleurodesis",
    ]),
    ("pulmonology markers", &[
        "partial pressure of oxygen", "procalcitonin", "lactate dehydrogenase", "surfactant protein D",
        "interleukin 6", "white blood cell count",
    ]),
    ("pulmonology tests", &[
        "chest radiography", "spirometry", "computed tomography", "arterial blood gas analysis", "sputum culture",
    ]),
    ("neurology conditions", &[
        "ischemic stroke", "intracerebral hemorrhage", "subarachnoid hemorrhage", "subdural hematoma", "epilepsy",
        "status epilepticus", "Parkinson disease", "multiple sclerosis", "Alzheimer disease",
        "traumatic brain injury", "hydrocephalus", "myasthenia gravis", "cerebral aneurysm", "migraine",
    ]),
    ("neurology drugs", &[
        "phenytoin", "levetiracetam", "valproate", "carbamazepine", "nimodipine", "mannitol", "alteplase",
        "gabapentin", "levodopa", "donepezil", "interferon beta", "dexamethasone", "aspirin",
    ]),
    ("neurology procedures", &[
        "craniotomy", "ventriculoperitoneal shunt placement", "lumbar puncture", "aneurysm coiling",
        "aneurysm clipping", "carotid stenting", "deep brain stimulation", "hematoma evacuation",
        "intracranial pressure monitoring",
    ]),
    ("neurology markers", &[
        "S100 protein", "neuron-specific enolase", "tau protein", "homocysteine", "cerebrospinal fluid lactate",
    ]),
    ("neurology tests", &[
        "magnetic resonance imaging", "computed tomography", "electroencephalography", "cerebral angiography",
        "transcranial Doppler ultrasonography",
    ]),
    ("gastroenterology conditions", &[
        "cirrhosis", "hepatitis C", "hepatic encephalopathy", "acute pancreatitis", "cholecystitis", "cholangitis",
        "peptic ulcer disease", "gastrointestinal hemorrhage", "Crohn disease", "ulcerative colitis",
        "diverticulitis", "gastroesophageal reflux disease", "small bowel obstruction", "esophageal varices",
        "appendicitis", "ascites",
    ]),
    ("gastroenterology drugs", &[
        "omeprazole", "pantoprazole", "ranitidine", "lactulose", "rifaximin", "octreotide", "mesalamine",
        "infliximab", "azathioprine", "ursodiol", "ribavirin", "propranolol", "albumin infusion",
    ]),
    ("gastroenterology procedures", &[
        "liver transplantation", "paracentesis", "laparoscopic cholecystectomy",
        "endoscopic retrograde cholangiopancreatography", "upper endoscopy", "colonoscopy", "hemicolectomy",
        "appendectomy", "percutaneous endoscopic gastrostomy", "exploratory laparotomy", "small bowel resection",
        "variceal banding", "transjugular intrahepatic portosystemic shunt placement",
    ]),
    ("gastroenterology markers", &[
        "bilirubin", "alanine aminotransferase", "amylase", "lipase", "serum albumin", "ammonia",
        "alkaline phosphatase", "fecal calprotectin",
    ]),
    ("gastroenterology tests", &[
        "abdominal ultrasonography", "liver biopsy", "computed tomography", "capsule endoscopy",
        "magnetic resonance cholangiography",
    ]),
    ("nephrology conditions", &[
        "acute kidney injury", "chronic kidney disease", "end-stage renal disease", "nephrolithiasis", "hyponatremia",
        "hyperkalemia", "nephrotic syndrome", "lupus nephritis", "renal artery stenosis", "polycystic kidney disease",
        "metabolic acidosis",
    ]),
    ("nephrology drugs", &[
        "epoetin alfa", "furosemide", "tacrolimus", "cyclosporine", "mycophenolate mofetil", "sevelamer",
        "calcitriol", "sodium bicarbonate", "tolvaptan", "ramipril", "prednisone", "cyclophosphamide",
    ]),
    ("nephrology procedures", &[
        "hemodialysis", "peritoneal dialysis", "kidney transplantation", "nephrectomy",
        "arteriovenous fistula creation", "continuous venovenous hemofiltration", "renal artery stenting",
        "ureteral stent placement", "lithotripsy",
    ]),
    ("nephrology markers", &[
        "serum creatinine", "cystatin C", "blood urea nitrogen", "urinary albumin", "parathyroid hormone",
        "serum potassium", "uric acid", "serum phosphate",
    ]),
    ("nephrology tests", &[
        "renal biopsy", "renal ultrasonography", "urinalysis", "measurement of glomerular filtration rate",
        "renal scintigraphy",
    ]),
    ("endocrinology conditions", &[
        "type 2 diabetes mellitus", "type 1 diabetes mellitus", "diabetic ketoacidosis", "hypothyroidism",
        "Graves disease", "hyperlipidemia", "morbid obesity", "adrenal insufficiency", "Cushing syndrome",
        "hypercalcemia", "diabetic neuropathy", "hypoglycemia",
    ]),
    ("endocrinology drugs", &[
        "metformin", "insulin glargine", "insulin lispro", "glipizide", "pioglitazone", "levothyroxine",
        "methimazole", "hydrocortisone", "atorvastatin", "exenatide", "fenofibrate", "simvastatin",
    ]),
    ("endocrinology procedures", &[
        "gastric bypass", "thyroidectomy", "parathyroidectomy", "adrenalectomy", "pancreas transplantation",
        "below-knee amputation", "laparoscopic gastric banding",
    ]),
    ("endocrinology markers", &[
        "hemoglobin A1c", "fasting glucose", "thyrotropin", "free thyroxine", "cortisol", "C-peptide",
        "triglycerides", "leptin",
    ]),
    ("endocrinology tests", &[
        "oral glucose tolerance testing", "thyroid ultrasonography", "continuous glucose monitoring",
        "dual-energy absorptiometry",
    ]),
    ("infectious diseases conditions", &[
        "sepsis", "septic shock", "bacterial endocarditis", "osteomyelitis", "cellulitis", "bacterial meningitis",
        "human immunodeficiency virus infection", "Clostridium difficile colitis", "urinary tract infection",
        "tuberculosis", "invasive candidiasis", "ventilator-associated pneumonia", "staphylococcal bacteremia",
    ]),
    ("infectious diseases drugs", &[
        "vancomycin", "piperacillin-tazobactam", "ceftriaxone", "cefepime", "levofloxacin", "ciprofloxacin",
        "metronidazole", "meropenem", "linezolid", "daptomycin", "fluconazole", "caspofungin", "acyclovir",
        "gentamicin", "norepinephrine", "vasopressin", "isoniazid",
    ]),
    ("infectious diseases procedures", &[
        "incision and drainage", "surgical debridement", "central venous catheterization",
        "early goal-directed therapy", "valve replacement", "catheter removal", "percutaneous abscess drainage",
    ]),
    ("infectious diseases markers", &[
        "procalcitonin", "lactate", "C-reactive protein", "white blood cell count", "interleukin 6", "CD4 cell count",
        "viral load",
    ]),
    ("infectious diseases tests", &[
        "blood culture", "urine culture", "polymerase chain reaction", "transesophageal echocardiography",
        "lumbar puncture",
    ]),
    ("oncology conditions", &[
        "acute myeloid leukemia", "multiple myeloma", "non-Hodgkin lymphoma", "non-small cell lung cancer",
        "breast cancer", "colorectal cancer", "prostate cancer", "pancreatic adenocarcinoma",
        "hepatocellular carcinoma", "glioblastoma", "melanoma", "ovarian cancer", "renal cell carcinoma",
        "febrile neutropenia", "thrombocytopenia", "iron deficiency anemia",
    ]),
    ("oncology drugs", &[
        "methotrexate", "cyclophosphamide", "rituximab", "doxorubicin", "cisplatin", "paclitaxel", "bortezomib",
        "trastuzumab", "tamoxifen", "imatinib", "fluorouracil", "filgrastim", "bevacizumab", "ondansetron",
    ]),
    ("oncology procedures", &[
        "stem cell transplantation", "radiation therapy", "mastectomy", "radical prostatectomy", "lobectomy",
        "hysterectomy", "pancreaticoduodenectomy", "chemoembolization", "platelet transfusion",
        "sentinel node biopsy",
    ]),
    ("oncology markers", &[
        "carcinoembryonic antigen", "prostate-specific antigen", "alpha-fetoprotein", "lactate dehydrogenase",
        "hemoglobin", "ferritin", "beta-2 microglobulin",
    ]),
    ("oncology tests", &[
        "positron emission tomography", "bone marrow biopsy", "computed tomography", "mammography", "flow cytometry",
    ]),
    ("orthopedics conditions", &[
        "hip fracture", "osteoarthritis", "rheumatoid arthritis", "osteoporosis", "lumbar spinal stenosis", "gout",
        "femoral shaft fracture", "vertebral compression fracture", "rotator cuff tear", "septic arthritis",
    ]),
    ("orthopedics drugs", &[
        "alendronate", "ibuprofen", "naproxen", "oxycodone", "acetaminophen", "allopurinol", "colchicine",
        "methotrexate", "etanercept", "enoxaparin", "morphine",
    ]),
    ("orthopedics procedures", &[
        "total hip arthroplasty", "total knee arthroplasty", "spinal fusion", "laminectomy",
        "open reduction and internal fixation", "arthroscopy", "vertebroplasty", "external fixation",
    ]),
    ("orthopedics markers", &[
        "bone mineral density", "uric acid", "rheumatoid factor", "vitamin D", "erythrocyte sedimentation rate",
    ]),
    ("orthopedics tests", &[
        "plain radiography", "magnetic resonance imaging", "joint aspiration", "bone scintigraphy",
    ]),
    ("psychiatry conditions", &[
        "major depression", "bipolar disorder", "schizophrenia", "delirium", "alcohol withdrawal",
        "opioid dependence", "generalised anxiety disorder", "dementia", "alcohol dependence", "drug overdose",
    ]),
    ("psychiatry drugs", &[
        "haloperidol", "quetiapine", "olanzapine", "risperidone", "sertraline", "citalopram", "fluoxetine",
        "bupropion", "lorazepam", "diazepam", "lithium", "methadone", "naloxone",
    ]),
    ("psychiatry procedures", &[
        "electroconvulsive therapy", "cognitive behavioural therapy", "transcranial magnetic stimulation",
        "alcohol detoxification", "gastric lavage",
    ]),
    ("psychiatry markers", &[
        "cortisol", "brain-derived neurotrophic factor", "serum lithium", "gamma-glutamyl transferase",
    ]),
    ("psychiatry tests", &[
        "the Hamilton scale", "the confusion assessment method", "a structured interview", "toxicological screening",
    ]),
    ("outcomes", &[
        "in-hospital mortality", "30-day mortality", "hospital readmission", "prolonged hospital stay", "stroke",
        "major bleeding", "venous thromboembolism", "renal failure", "respiratory failure", "reintubation",
        "surgical site infection", "disease progression", "recurrence", "cardiac arrest", "treatment failure",
        "functional decline", "admission to the intensive care unit", "death from any cause",
    ]),
    ("symptom", &[
        "dyspnea", "chest pain", "abdominal pain", "nausea", "vomiting", "fever", "cough", "hemoptysis", "syncope",
        "dizziness", "headache", "fatigue", "weight loss", "jaundice", "hematuria", "diarrhea", "confusion",
        "seizures", "edema", "palpitations", "hypotension", "rash", "melena", "dysphagia", "hemiparesis", "back pain",
    ]),
    ("sign", &[
        "jugular venous distension", "a systolic murmur", "bilateral crackles", "hepatomegaly", "splenomegaly",
        "peripheral edema", "tachycardia", "abdominal tenderness", "reduced breath sounds", "nuchal rigidity",
        "left-sided weakness", "a palpable mass",
    ]),
    ("mechanism", &[
        "oxidative stress", "endothelial dysfunction", "chronic inflammation", "insulin resistance",
        "platelet activation", "mitochondrial dysfunction", "neurohormonal activation", "impaired autoregulation",
        "apoptosis", "bacterial translocation", "sodium retention", "autoimmunity",
    ]),
    ("population", &[
        "elderly patients", "adults", "critically ill patients", "women", "men", "hospitalised patients",
        "dialysis patients", "transplant recipients", "young adults", "surgical patients",
    ]),
    ("countries", &[
        "Sweden", "Japan", "Canada", "Brazil", "Italy", "Germany", "the United Kingdom", "the United States",
        "France", "Spain", "India", "Australia", "the Netherlands", "Norway", "Turkey", "Korea",
    ]),
    ("settings", &[
        "university hospitals", "tertiary care centers", "community hospitals", "intensive care units",
        "emergency departments", "teaching hospitals",
    ]),
    ("severity", &["severe", "moderate", "advanced", "refractory", "acute", "symptomatic", "decompensated"]),
    ("limitation", &[
        "the small sample size", "the retrospective design", "missing data", "possible selection bias",
        "short follow-up", "unmeasured confounding", "the lack of a control group",
    ]),
    ("dose", &[
        "2.5", "5", "10", "20", "25", "40", "50", "75", "100", "150", "200", "250", "325", "500", "750", "1000",
    ]),
    ("frequency", &[
        "once daily", "twice daily", "three times daily", "every 6 hours", "every 8 hours", "every 12 hours",
        "once weekly",
    ]),
    ("unit", &["mg/dL", "mg/L", "ng/mL", "pg/mL", "mmol/L", "U/L"]),
    ("sex", &["men", "women"]),
    ("one", &["man", "woman"]),
];
