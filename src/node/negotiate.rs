//! The answer to a request for an association (PS3.8, 7.1 and 9.3).

use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ, PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};
use dicom_ul::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

use super::Rules;
use super::classes::{self, VERIFICATION, trimmed};

/// DICOM's application context (PS3.7, A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// A presentation context that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub id: u8,
    /// The class of its objects.
    pub class: String,
    /// The transfer syntax of its data sets.
    pub syntax: String,
}

/// An association that is accepted.
pub(super) struct Accepted {
    pub answer: AssociationAC,
    pub contexts: Vec<Context>,
    /// How many presentation contexts were refused.
    pub refused: usize,
}

/// A rejection and its reason in words.
pub(super) struct Rejected {
    pub answer: AssociationRJ,
    pub reason: String,
}

/// Answers `request`; `crowded` says that there are as many associations as may be.
pub(super) fn answer(
    request: AssociationRQ,
    rules: &Rules,
    crowded: bool,
) -> Result<Accepted, Box<Rejected>> {
    check(&request, rules, crowded)?;
    let mut contexts = Vec::new();
    let mut results = Vec::new();
    for proposed in request.presentation_contexts {
        let class = trimmed(&proposed.abstract_syntax);
        let known = class == VERIFICATION || classes::is_storage(class);
        let syntax = classes::choose(class, &proposed.transfer_syntaxes).filter(|_| known);
        // A second one of the same number would be ambiguous; numbers are odd (PS3.8, 9.3.2.2).
        let doubtful =
            proposed.id.is_multiple_of(2) || contexts.iter().any(|c: &Context| c.id == proposed.id);
        let reason = match syntax {
            _ if doubtful => PresentationContextResultReason::NoReason,
            _ if !known => PresentationContextResultReason::AbstractSyntaxNotSupported,
            None => PresentationContextResultReason::TransferSyntaxesNotSupported,
            Some(syntax) => {
                contexts.push(Context {
                    id: proposed.id,
                    class: class.to_owned(),
                    syntax: syntax.to_owned(),
                });
                PresentationContextResultReason::Acceptance
            }
        };
        results.push(PresentationContextResult {
            id: proposed.id,
            reason,
            // Without a meaning in a refusal (PS3.8, 9.3.3.2).
            transfer_syntax: syntax.unwrap_or("1.2.840.10008.1.2").to_owned(),
        });
    }
    let refused = results.len() - contexts.len();
    let answer = AssociationAC {
        protocol_version: 1,
        application_context_name: APPLICATION_CONTEXT.into(),
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        presentation_contexts: results,
        user_variables: vec![
            UserVariableItem::MaxLength(rules.max_pdu),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.into()),
        ],
    };
    Ok(Accepted { answer, contexts, refused })
}

/// Rejects whoever may not call.
fn check(request: &AssociationRQ, rules: &Rules, crowded: bool) -> Result<(), Box<Rejected>> {
    use AssociationRJServiceUserReason as User;
    let AssociationRQ { calling_ae_title: calling, called_ae_title: called, .. } = request;
    let permanent = |source, reason: String| {
        let answer = AssociationRJ { result: AssociationRJResult::Permanent, source };
        Err(Box::new(Rejected { answer, reason }))
    };
    let user = |why, reason| permanent(AssociationRJSource::ServiceUser(why), reason);
    if request.protocol_version & 1 == 0 {
        let why = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
        return permanent(
            AssociationRJSource::ServiceProviderASCE(why),
            "another version of the protocol".into(),
        );
    }
    if trimmed(&request.application_context_name) != APPLICATION_CONTEXT {
        return user(
            User::ApplicationContextNameNotSupported,
            "another application context than DICOM's".into(),
        );
    }
    if !rules.any_called && *called != rules.title.as_str() {
        return user(
            User::CalledAETitleNotRecognized,
            format!("calls {called:?}, not {:?}", rules.title.as_str()),
        );
    }
    if !rules.allowed.is_empty() && !rules.allowed.iter().any(|title| title.as_str() == calling) {
        return user(
            User::CallingAETitleNotRecognized,
            "its AE title is not among those that may call".into(),
        );
    }
    if crowded {
        let why = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
        let source = AssociationRJSource::ServiceProviderPresentation(why);
        let answer = AssociationRJ { result: AssociationRJResult::Transient, source };
        let reason = format!("there are {} associations already", rules.max_associations);
        return Err(Box::new(Rejected { answer, reason }));
    }
    Ok(())
}
