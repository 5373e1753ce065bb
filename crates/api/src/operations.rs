//! The register: every operation of the platform, by family. One line makes an operation exist; it does not compile
//! until `control` has a handler for it. Must never hold anything else.

use crate::Spec;

/// Calls `$register!` with the list of all operation types.
#[macro_export]
macro_rules! for_each_operation {
    ($register:ident) => {
        $register! {
            $crate::TenantCreate, $crate::TenantGet, $crate::TenantList, $crate::TenantUpdate, $crate::TenantSuspend,
            $crate::TenantResume, $crate::TenantDelete, $crate::TenantExport, $crate::TenantOffboard, $crate::TenantCertificate,
            $crate::UserCreate, $crate::UserGet, $crate::UserList, $crate::UserUpdate, $crate::UserDeactivate,
            $crate::UserSetRoles, $crate::UserResetPassword, $crate::UserEnrolTotp, $crate::UserConfirmTotp, $crate::UserRemoveTotp,
            $crate::UserCreateToken, $crate::UserListTokens,
            $crate::UserRevokeToken,
            $crate::ServiceKeyCreate, $crate::ServiceKeyList, $crate::ServiceKeyRotate, $crate::ServiceKeyRevoke,
            $crate::AgentRegister, $crate::AgentGet, $crate::AgentList, $crate::AgentUpdate, $crate::AgentActivate,
            $crate::AgentSuspend, $crate::AgentRetire, $crate::AgentIssueRunCredential, $crate::AgentRevokeCredentials,
            $crate::AgentDefine, $crate::AgentCharterGet,
            $crate::SkillImport, $crate::SkillList, $crate::SkillGet, $crate::SkillCheck,
            $crate::RunStart, $crate::RunGet, $crate::RunList, $crate::RunCancel, $crate::RunTranscript,
            $crate::RoleCreate, $crate::RoleGet, $crate::RoleList, $crate::RoleUpdate, $crate::RoleDelete,
            $crate::RoleAssign, $crate::RoleUnassign,
            $crate::RecertificationList, $crate::RecertificationReportGet, $crate::RecertificationCertify, $crate::RecertificationRevoke,
            $crate::PolicyCreate, $crate::PolicyGet, $crate::PolicyList, $crate::PolicyUpdate, $crate::PolicyActivate,
            $crate::PolicyRetire, $crate::PolicyVersions, $crate::PolicyDiff, $crate::PolicyTest, $crate::PolicyExplain,
            $crate::PolicyCanI, $crate::PolicyMatrix, $crate::PolicySimulate, $crate::PolicyProve,
            $crate::ApprovalList, $crate::ApprovalGet, $crate::ApprovalApprove, $crate::ApprovalDeny,
            $crate::ApprovalNarrow, $crate::ApprovalCancel, $crate::ApprovalDelegate, $crate::ApprovalEndDelegation,
            $crate::ApprovalListDelegations, $crate::ApprovalReportGet,
            $crate::AuditList, $crate::AuditGet, $crate::AuditProve, $crate::AuditConsistency, $crate::AuditCheckpoint,
            $crate::AuditKey, $crate::AuditRotateKey, $crate::AuditExport, $crate::AuditEvidencePack, $crate::AuditListOcsf, $crate::AuditErasePayload,
            $crate::AuditListAnchors,
            $crate::RuleCreate, $crate::RuleGet, $crate::RuleList, $crate::RuleUpdate, $crate::RuleSetState,
            $crate::RuleEnable, $crate::RuleRetire, $crate::RuleDelete, $crate::RuleVersions, $crate::RuleDiff,
            $crate::RuleRollback, $crate::RuleLint, $crate::RuleTest, $crate::RuleExplain, $crate::RuleCoverage,
            $crate::RuleImport, $crate::RuleExport, $crate::RuleBacktest, $crate::RuleEstimate, $crate::RuleRetroHunt, $crate::RuleMetrics,
            $crate::PackCreate, $crate::PackGet, $crate::PackList, $crate::PackAssign,
            $crate::PackUnassign, $crate::RuleExceptionCreate, $crate::RuleExceptionList, $crate::RuleExceptionDelete,
            $crate::WebhookCreate, $crate::WebhookList, $crate::WebhookDelete, $crate::WebhookTest,
            $crate::KillSwitchEngage, $crate::KillSwitchRelease, $crate::KillSwitchStatus,
            $crate::OperationList, $crate::OperationSearch, $crate::OperationDescribe, $crate::OperationCall,
            $crate::SourceCreate, $crate::SourceGet, $crate::SourceList, $crate::SourceUpdate, $crate::SourceDelete,
            $crate::SourceCreateKey, $crate::SourceListKeys, $crate::SourceRevokeKey, $crate::SourceHealthGet,
            $crate::SourceTestMapping, $crate::SourceSetBucket, $crate::SourceGetBucket, $crate::SourceRemoveBucket,
            $crate::SourceListObjects,
            $crate::EventQuery, $crate::EventSearch, $crate::EventTail, $crate::EventHistogram, $crate::EventFields,
            $crate::EventValues, $crate::EventGet, $crate::EventProcessTree, $crate::EventEstimate, $crate::EventExport,
            $crate::EntityPrevalence, $crate::DetectionList, $crate::DetectionGet,
            $crate::ExternalTableCreate, $crate::ExternalTableGet, $crate::ExternalTableList, $crate::ExternalTableDelete,
            $crate::SavedQueryCreate, $crate::SavedQueryGet, $crate::SavedQueryList, $crate::SavedQueryUpdate,
            $crate::SavedQueryDelete, $crate::SavedQueryRun, $crate::SavedQueryResults, $crate::SavedQueryResult,
            $crate::LakeStatusGet, $crate::LakeRetention, $crate::LakeSetRetention, $crate::LakeHold,
            $crate::LakeReleaseHold, $crate::LakeCompact, $crate::LakeErase,
            $crate::SensorCreate, $crate::SensorGet, $crate::SensorList, $crate::SensorUpdate, $crate::SensorRetire,
            $crate::SensorEnrol, $crate::SensorHeartbeat, $crate::SensorTasks, $crate::SensorReport,
            $crate::SensorSendChunk,
            $crate::ActionCatalogue, $crate::ActionKillProcess, $crate::ActionIsolateHost, $crate::ActionReleaseHost,
            $crate::ActionListProcesses, $crate::ActionListSockets, $crate::ActionUndo,
            $crate::ActionCollectFile, $crate::ActionGetFile,
            $crate::ActionRunConnector,
            $crate::ActionGet, $crate::ActionList,
            $crate::ConnectorCatalogue, $crate::ConnectorCreate, $crate::ConnectorGet, $crate::ConnectorList,
            $crate::ConnectorUpdate, $crate::ConnectorSetSecret, $crate::ConnectorDelete, $crate::ConnectorTest,
            $crate::CaseOpen, $crate::CaseList, $crate::CaseGet, $crate::CaseDetections, $crate::CaseUpdate,
            $crate::CaseConclude, $crate::CaseMerge, $crate::CaseAddEvidence, $crate::CaseGetEvidence,
            $crate::CaseAddComment, $crate::CaseAddTask, $crate::CaseUpdateTask, $crate::CaseTimeline,
            $crate::CaseMetrics, $crate::CaseObserve, $crate::EntitySetVerdict, $crate::EntityCases,
            $crate::ConfigGet,
            $crate::GrantLend, $crate::GrantList, $crate::GrantRevoke, $crate::GrantRedeem,
            $crate::LockdownEngage, $crate::LockdownLift, $crate::LockdownStatus,
            $crate::BreakGlassOpen, $crate::BreakGlassClose, $crate::BreakGlassReview, $crate::BreakGlassList,
            $crate::JobGet, $crate::JobList, $crate::JobCancel,
            $crate::MeGet, $crate::MePermissions, $crate::MeLogin, $crate::MeLoginOidc, $crate::MeLogout,
            $crate::SystemInfo, $crate::SystemLimits,
        }
    };
}

macro_rules! all_specs {
    ($($operation:path,)*) => {
        /// Every operation with its type erased, in the order of the register.
        #[must_use]
        pub fn specs() -> Vec<Spec> {
            vec![$(Spec::of::<$operation>(),)*]
        }
    };
}
for_each_operation!(all_specs);
