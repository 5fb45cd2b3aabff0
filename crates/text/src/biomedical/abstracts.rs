//! Sentences of abstracts by the design of the study.

/// A kind of study. The first of the methods and of the results is always said.
pub(super) struct Design {
    pub titles: &'static [&'static str],
    pub methods: &'static [&'static str],
    pub results: &'static [&'static str],
    /// What the groups of the results say.
    pub finding: &'static str,
}

pub(super) const BACKGROUND: &[&str] = &[
    "{condition} is a frequent cause of {outcome} in {population}.",
    "The role of {drug} in {condition} is controversial.",
    "Little is known about {outcome} after {procedure} in patients with {condition}.",
    "{drug} is widely used in {condition}, but evidence for its effect on {outcome} is limited.",
    "{condition} often coexists with {comorbidity}, and the prognosis of patients with both is poor.",
    "We hypothesised that {marker} predicts {outcome} in {condition}.",
    "Guidelines recommend {procedure} for {severity} {condition}.",
    "The pathogenesis of {condition} involves {mechanism} and {mechanism}.",
];

pub(super) const CONCLUSION: &[&str] = &[
    "Serum {marker} may help to identify patients with {condition} at high risk of {outcome}.",
    "Larger randomised trials are needed to confirm these findings.",
    "{procedure} is feasible and safe in selected patients with {condition}.",
    "Clinicians should consider {comorbidity} in patients who present with {condition} and {symptom}.",
    "Our data support the use of {drug} in {population} with {condition}.",
    "These results should be interpreted with caution because of {limitation}.",
];

pub(super) const KEYWORDS: &[&str] = &[
    "Keywords: {condition}; {drug}; {outcome}; {marker}.",
    "Key words: {condition}, {comorbidity}, {procedure}, {specialty}.",
];

pub(super) const DESIGNS: &[Design] = &[
    Design {
        titles: &[
            "{drug} versus {comparator} in patients with {condition}: a randomised controlled trial.",
            "Effect of {drug} on {outcome} in {condition}.",
            "A double-blind, placebo-controlled trial of {drug} for {condition}.",
        ],
        methods: &[
            "We randomly assigned {n} patients with {condition} to receive {drug} (n = {n1}) or {comparator} (n = {n2}).",
            "The primary end point was {outcome}; the secondary end point was {second}.",
            "Patients with {comorbidity} or {other} were excluded.",
            "The dose of {drug} was {dose} mg {frequency} for {2-48} weeks.",
            "The trial was conducted in {3-60} {setting} in {country} from {from} to {to}.",
            "Analyses were by intention to treat.",
            "{marker} was measured at baseline and after {1-12} months.",
        ],
        results: &[
            "{outcome} occurred in {e1} of {n1} patients ({p1}%) treated with {drug} and in {e2} of {n2} patients ({p2}%) treated with {comparator} ({p}).",
            "The rate of {outcome} was {direction} with {drug} than with {comparator}.",
            "Mean {marker} fell from {60-240} to {20-59} {unit} with {drug}.",
            "The most common adverse events were {symptom} and {symptom}.",
            "There was no difference in {second} between the groups.",
            "Treatment with {drug} was stopped in {1-12} patients because of {other}.",
            "The hazard ratio for {second} was 0.{41-98} (95% confidence interval, 0.{20-40} to 1.{10-60}).",
        ],
        finding: "In patients with {condition}, {drug} {verdict} {outcome}.",
    },
    Design {
        titles: &[
            "Risk factors for {outcome} in patients with {condition}: a cohort study.",
            "Long-term {outcome} in {condition}: experience from {country}.",
            "{comorbidity} and {outcome} in {population} with {condition}.",
        ],
        methods: &[
            "We studied {n} patients with {condition} who were admitted to {setting} in {country} between {from} and {to}.",
            "Of these, {n1} had {comorbidity} and {n2} did not.",
            "Multivariable logistic regression was used to identify predictors of {outcome}.",
            "Median follow-up was {1-14} years.",
            "{condition} was diagnosed by {test}.",
            "Data on {marker}, {second} and treatment with {drug} were collected from medical records.",
            "Survival was estimated with the Kaplan-Meier method.",
        ],
        results: &[
            "{outcome} was observed in {e1} of the {n1} patients with {comorbidity} ({p1}%) and in {e2} of the {n2} patients without ({p2}%; {p}).",
            "The mean age was {38-84} years, and {31-69}% were {sex}.",
            "Independent predictors of {outcome} were {comorbidity}, elevated {marker} and {symptom}.",
            "The risk of {outcome} was {direction} in patients with {comorbidity}.",
            "{drug} was prescribed to {12-88}% of the patients.",
            "The odds ratio for {second} was {1-6}.{10-99} (95% confidence interval, 1.{10-99} to {7-12}.{10-99}).",
            "{1-30} patients underwent {procedure}.",
        ],
        finding: "In patients with {condition}, {comorbidity} {verdict} {outcome}.",
    },
    Design {
        titles: &[
            "{procedure} for {condition}: a retrospective review of {n} cases.",
            "Outcomes after {procedure} compared with {alternative} in {condition}.",
            "{procedure} in {population} with {comorbidity}.",
        ],
        methods: &[
            "The records of {n} patients who underwent {procedure} (n = {n1}) or {alternative} (n = {n2}) for {condition} were reviewed.",
            "All operations were performed in {setting} in {country} between {from} and {to}.",
            "The indication was {severity} {condition} confirmed by {test}.",
            "Perioperative treatment included {drug} and {comparator}.",
            "Patients were followed for {3-60} months with {test}.",
            "Complications were graded, and {second} was recorded.",
        ],
        results: &[
            "{outcome} followed {procedure} in {e1} of {n1} patients ({p1}%) and {alternative} in {e2} of {n2} patients ({p2}%; {p}).",
            "Median operative time was {45-380} minutes, and median hospital stay was {2-21} days.",
            "Postoperative complications were {other}, {symptom} and {second}.",
            "Conversion to {alternative} was necessary in {1-9} patients.",
            "Mechanical ventilation was required for {1-96} hours.",
            "Patients with {comorbidity} had more {symptom} after {procedure}.",
            "The rate of {outcome} was {direction} after {procedure} than after {alternative}.",
        ],
        finding: "In patients with {condition}, {procedure} {verdict} {outcome}.",
    },
    Design {
        titles: &[
            "{symptom} as the first sign of {condition}: a case report.",
            "{condition} complicated by {comorbidity}: case report and review of the literature.",
            "{drug}-associated {other} in a patient with {condition}.",
        ],
        methods: &[
            "We report the case of a {20-79}-year-old {one} with a history of {condition} who presented with {symptom} and {symptom}.",
            "The medical history included {comorbidity} treated with {drug}.",
            "On examination there was {sign}.",
            "Laboratory tests showed elevated {marker}.",
            "{test} revealed {other}.",
            "Similar cases were searched in the literature from {from} to {to}.",
        ],
        results: &[
            "The patient was treated with {drug} and {comparator}, and {symptom} resolved within {2-30} days.",
            "{procedure} was performed because of {severity} {condition}.",
            "Histology was consistent with {condition}.",
            "{marker} returned to normal after {2-16} weeks of {drug}.",
            "The course was complicated by {comorbidity}, which required {alternative}.",
            "We found {3-90} similar reports; {outcome} was described in {1-3} of them.",
            "At follow-up after {1-24} months the patient had no {symptom}.",
        ],
        finding: "{condition} should be considered in patients with {symptom} and elevated {marker}.",
    },
    Design {
        titles: &[
            "Diagnostic value of {marker} in {condition}.",
            "{marker} as a biomarker of {outcome} in {condition} and {comorbidity}.",
            "{mechanism} in {condition}: a cross-sectional study.",
        ],
        methods: &[
            "{marker} was measured in {n1} patients with {condition} and in {n2} controls.",
            "The reference standard was {test}.",
            "Samples were obtained in {setting} in {country} before treatment with {drug}.",
            "Receiver operating characteristic curves were calculated for {outcome}.",
            "Subjects with {comorbidity}, {other} or recent {procedure} were excluded.",
            "The correlation of {marker} with {second} was examined.",
        ],
        results: &[
            "{marker} was elevated in {e1} of {n1} patients ({p1}%) and in {e2} of {n2} controls ({p2}%; {p}).",
            "The area under the curve for {condition} was 0.{61-97}.",
            "Sensitivity was {55-99}% and specificity was {50-98}%.",
            "{marker} correlated with {second} and with {mechanism}.",
            "Patients treated with {drug} had lower {marker} than those treated with {comparator}.",
            "Median {marker} was {10-480} {unit} in {severity} and {2-9} {unit} in mild {condition}.",
        ],
        finding: "{condition} {verdict} elevated {marker}.",
    },
];
