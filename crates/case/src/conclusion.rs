//! Conclusions: claims that cite evidence and quote from it. A claim whose evidence does not exist, or does not hold what is
//! quoted, is refused; whoever makes it, a model most of all.

use ids::EventId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A shorter quote must be a whole value: one or two characters stand somewhere in everything.
const QUOTE_PART_CHARS_MIN: usize = 3;

/// What a claim rests on.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceRef {
    /// An event of the lake.
    Event(EventId),
    /// Evidence of the case, by its id.
    Evidence(String),
}

/// Evidence and what is quoted from it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// Which.
    pub evidence: EvidenceRef,
    /// Values that stand in it, letter by letter.
    pub quotes: Vec<String>,
}

/// One statement of a conclusion.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What is claimed.
    pub text: String,
    /// What it rests on.
    pub citations: Vec<Citation>,
}

/// Why a claim is refused. Pointers are JSON pointers into the conclusion.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum ClaimFault {
    /// There is no claim, or no citation, or no quote.
    #[error("{detail}")]
    Bare {
        /// Where.
        pointer: String,
        /// What is missing.
        detail: &'static str,
    },
    /// The evidence does not exist, or the caller may not know of it.
    #[error("names no evidence of this tenant; cite an event id or evidence of the case")]
    Unresolved {
        /// Where.
        pointer: String,
    },
    /// The evidence does not hold the quote.
    #[error("does not stand in the evidence that is cited; quote a value as it stands there")]
    NotThere {
        /// Where.
        pointer: String,
    },
}

impl ClaimFault {
    /// Where: a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> &str {
        match self {
            Self::Bare { pointer, .. } | Self::Unresolved { pointer } | Self::NotThere { pointer } => pointer,
        }
    }
}

/// Check every claim. `resolve` gives the values that a piece of evidence holds, each as text; none where it does not
/// exist within the caller's tenant.
///
/// # Errors
/// Every fault, in the order of the claims.
pub fn check_conclusion(
    claims: &[Claim],
    resolve: &dyn Fn(&EvidenceRef) -> Option<Vec<String>>,
) -> Result<(), Vec<ClaimFault>> {
    let mut faults = Vec::new();
    let mut bare = |pointer: String, detail: &'static str| faults.push(ClaimFault::Bare { pointer, detail });
    if claims.is_empty() {
        bare("/claims".to_owned(), "is empty; make at least one claim with a citation");
    }
    for (number, claim) in claims.iter().enumerate() {
        if claim.text.trim().is_empty() {
            bare(format!("/claims/{number}/text"), "is empty; say what is claimed");
        }
        if claim.citations.is_empty() {
            bare(format!("/claims/{number}/citations"), "is empty; cite the evidence that the claim rests on");
        }
    }
    for (number, claim) in claims.iter().enumerate() {
        for (place, citation) in claim.citations.iter().enumerate() {
            check_citation(&format!("/claims/{number}/citations/{place}"), citation, resolve, &mut faults);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_citation(
    at: &str,
    citation: &Citation,
    resolve: &dyn Fn(&EvidenceRef) -> Option<Vec<String>>,
    faults: &mut Vec<ClaimFault>,
) {
    let Some(values) = resolve(&citation.evidence) else {
        faults.push(ClaimFault::Unresolved { pointer: at.to_owned() });
        return;
    };
    if citation.quotes.is_empty() {
        let detail = "is empty; quote at least one value from the evidence";
        faults.push(ClaimFault::Bare { pointer: format!("{at}/quotes"), detail });
    }
    for (number, quote) in citation.quotes.iter().enumerate() {
        if !values.iter().any(|value| holds(value, quote)) {
            faults.push(ClaimFault::NotThere { pointer: format!("{at}/quotes/{number}") });
        }
    }
}

fn holds(value: &str, quote: &str) -> bool {
    let short = quote.trim().chars().count() < QUOTE_PART_CHARS_MIN;
    if short { !quote.trim().is_empty() && value == quote } else { value.contains(quote) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: u64) -> EventId {
        EventId { class_uid: 1007, day: 20_000, segment: 1, offset, index: 0, part: 0 }
    }

    fn claim(evidence: EvidenceRef, quotes: &[&str]) -> Claim {
        let quotes = quotes.iter().map(|quote| (*quote).to_owned()).collect();
        Claim { text: "it ran".to_owned(), citations: vec![Citation { evidence, quotes }] }
    }

    fn resolve(evidence: &EvidenceRef) -> Option<Vec<String>> {
        match evidence {
            EvidenceRef::Event(id) if id.offset == 1 => {
                Some(vec!["C:\\Windows\\System32\\whoami.exe".to_owned(), "4".to_owned(), "4242".to_owned()])
            }
            EvidenceRef::Evidence(id) if id == "evidence_1" => Some(vec!["10.0.0.7".to_owned()]),
            _ => None,
        }
    }

    fn pointers(claims: &[Claim]) -> Vec<String> {
        let faults = check_conclusion(claims, &resolve).err().unwrap_or_default();
        faults.iter().map(|fault| fault.pointer().to_owned()).collect()
    }

    #[test]
    fn what_stands_in_the_evidence_may_be_claimed() {
        let claims = [
            claim(EvidenceRef::Event(event(1)), &["System32\\whoami.exe", "4"]),
            claim(EvidenceRef::Evidence("evidence_1".to_owned()), &["10.0.0.7"]),
        ];
        assert_eq!(check_conclusion(&claims, &resolve), Ok(()));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let claims = [
            claim(EvidenceRef::Event(event(1)), &["mimikatz", "42", "whoami.exe", " ", ""]),
            claim(EvidenceRef::Event(event(2)), &["whoami.exe"]),
            claim(EvidenceRef::Evidence("evidence_1".to_owned()), &[]),
            Claim { text: " ".to_owned(), citations: Vec::new() },
        ];
        let mut expected = vec!["/claims/3/text", "/claims/3/citations"];
        expected.extend(["/claims/0/citations/0/quotes/0", "/claims/0/citations/0/quotes/1"]);
        expected.extend(["/claims/0/citations/0/quotes/3", "/claims/0/citations/0/quotes/4"]);
        expected.extend(["/claims/1/citations/0", "/claims/2/citations/0/quotes"]);
        assert_eq!(pointers(&claims), expected);
        assert_eq!(pointers(&[]), ["/claims"]);
    }
}
