//! The rules that ship, embedded from `content/rules`: the texts as they are, and the tests that lie beside them.

/// Every shipped rule: its file below `content/rules`, and its text.
pub const RULES: [(&str, &str); 33] = [
    (
        "cloudtrail/access_key_for_another.yml",
        include_str!("../../../content/rules/cloudtrail/access_key_for_another.yml"),
    ),
    (
        "cloudtrail/administrator_policy_attached.yml",
        include_str!("../../../content/rules/cloudtrail/administrator_policy_attached.yml"),
    ),
    ("cloudtrail/bucket_made_public.yml", include_str!("../../../content/rules/cloudtrail/bucket_made_public.yml")),
    (
        "cloudtrail/console_login_without_mfa.yml",
        include_str!("../../../content/rules/cloudtrail/console_login_without_mfa.yml"),
    ),
    ("cloudtrail/guardduty_weakened.yml", include_str!("../../../content/rules/cloudtrail/guardduty_weakened.yml")),
    ("cloudtrail/logging_stopped.yml", include_str!("../../../content/rules/cloudtrail/logging_stopped.yml")),
    ("cloudtrail/root_account_used.yml", include_str!("../../../content/rules/cloudtrail/root_account_used.yml")),
    ("linux/download_piped_to_shell.yml", include_str!("../../../content/rules/linux/download_piped_to_shell.yml")),
    ("linux/host_autostart_written.yml", include_str!("../../../content/rules/linux/host_autostart_written.yml")),
    (
        "linux/host_credential_file_named.yml",
        include_str!("../../../content/rules/linux/host_credential_file_named.yml"),
    ),
    (
        "linux/host_decoded_payload_to_shell.yml",
        include_str!("../../../content/rules/linux/host_decoded_payload_to_shell.yml"),
    ),
    ("linux/host_discovery_burst.yml", include_str!("../../../content/rules/linux/host_discovery_burst.yml")),
    (
        "linux/host_download_piped_to_shell.yml",
        include_str!("../../../content/rules/linux/host_download_piped_to_shell.yml"),
    ),
    (
        "linux/host_program_in_temporary_folder_connects.yml",
        include_str!("../../../content/rules/linux/host_program_in_temporary_folder_connects.yml"),
    ),
    ("linux/kernel_module_loaded.yml", include_str!("../../../content/rules/linux/kernel_module_loaded.yml")),
    ("linux/loader_preload_written.yml", include_str!("../../../content/rules/linux/loader_preload_written.yml")),
    ("linux/reverse_shell.yml", include_str!("../../../content/rules/linux/reverse_shell.yml")),
    ("linux/sudoers_changed.yml", include_str!("../../../content/rules/linux/sudoers_changed.yml")),
    ("windows/certutil_download.yml", include_str!("../../../content/rules/windows/certutil_download.yml")),
    ("windows/comsvcs_memory_dump.yml", include_str!("../../../content/rules/windows/comsvcs_memory_dump.yml")),
    ("windows/defender_switched_off.yml", include_str!("../../../content/rules/windows/defender_switched_off.yml")),
    ("windows/kerberos_rc4_ticket.yml", include_str!("../../../content/rules/windows/kerberos_rc4_ticket.yml")),
    ("windows/lsass_memory_read.yml", include_str!("../../../content/rules/windows/lsass_memory_read.yml")),
    ("windows/office_starts_shell.yml", include_str!("../../../content/rules/windows/office_starts_shell.yml")),
    ("windows/password_spray.yml", include_str!("../../../content/rules/windows/password_spray.yml")),
    (
        "windows/powershell_encoded_command.yml",
        include_str!("../../../content/rules/windows/powershell_encoded_command.yml"),
    ),
    (
        "windows/privileged_group_member_added.yml",
        include_str!("../../../content/rules/windows/privileged_group_member_added.yml"),
    ),
    ("windows/psexec_service.yml", include_str!("../../../content/rules/windows/psexec_service.yml")),
    ("windows/run_key_to_script.yml", include_str!("../../../content/rules/windows/run_key_to_script.yml")),
    (
        "windows/schtasks_suspicious_action.yml",
        include_str!("../../../content/rules/windows/schtasks_suspicious_action.yml"),
    ),
    ("windows/security_log_cleared.yml", include_str!("../../../content/rules/windows/security_log_cleared.yml")),
    ("windows/service_in_user_folder.yml", include_str!("../../../content/rules/windows/service_in_user_folder.yml")),
    ("windows/shadow_copies_deleted.yml", include_str!("../../../content/rules/windows/shadow_copies_deleted.yml")),
];

/// The tests beside the rules, in the same order: a list of cases in JSON, as `rule.test` takes them.
pub const TESTS: [(&str, &str); 33] = [
    (
        "cloudtrail/access_key_for_another.tests.json",
        include_str!("../../../content/rules/cloudtrail/access_key_for_another.tests.json"),
    ),
    (
        "cloudtrail/administrator_policy_attached.tests.json",
        include_str!("../../../content/rules/cloudtrail/administrator_policy_attached.tests.json"),
    ),
    (
        "cloudtrail/bucket_made_public.tests.json",
        include_str!("../../../content/rules/cloudtrail/bucket_made_public.tests.json"),
    ),
    (
        "cloudtrail/console_login_without_mfa.tests.json",
        include_str!("../../../content/rules/cloudtrail/console_login_without_mfa.tests.json"),
    ),
    (
        "cloudtrail/guardduty_weakened.tests.json",
        include_str!("../../../content/rules/cloudtrail/guardduty_weakened.tests.json"),
    ),
    (
        "cloudtrail/logging_stopped.tests.json",
        include_str!("../../../content/rules/cloudtrail/logging_stopped.tests.json"),
    ),
    (
        "cloudtrail/root_account_used.tests.json",
        include_str!("../../../content/rules/cloudtrail/root_account_used.tests.json"),
    ),
    (
        "linux/download_piped_to_shell.tests.json",
        include_str!("../../../content/rules/linux/download_piped_to_shell.tests.json"),
    ),
    (
        "linux/host_autostart_written.tests.json",
        include_str!("../../../content/rules/linux/host_autostart_written.tests.json"),
    ),
    (
        "linux/host_credential_file_named.tests.json",
        include_str!("../../../content/rules/linux/host_credential_file_named.tests.json"),
    ),
    (
        "linux/host_decoded_payload_to_shell.tests.json",
        include_str!("../../../content/rules/linux/host_decoded_payload_to_shell.tests.json"),
    ),
    (
        "linux/host_discovery_burst.tests.json",
        include_str!("../../../content/rules/linux/host_discovery_burst.tests.json"),
    ),
    (
        "linux/host_download_piped_to_shell.tests.json",
        include_str!("../../../content/rules/linux/host_download_piped_to_shell.tests.json"),
    ),
    (
        "linux/host_program_in_temporary_folder_connects.tests.json",
        include_str!("../../../content/rules/linux/host_program_in_temporary_folder_connects.tests.json"),
    ),
    (
        "linux/kernel_module_loaded.tests.json",
        include_str!("../../../content/rules/linux/kernel_module_loaded.tests.json"),
    ),
    (
        "linux/loader_preload_written.tests.json",
        include_str!("../../../content/rules/linux/loader_preload_written.tests.json"),
    ),
    ("linux/reverse_shell.tests.json", include_str!("../../../content/rules/linux/reverse_shell.tests.json")),
    ("linux/sudoers_changed.tests.json", include_str!("../../../content/rules/linux/sudoers_changed.tests.json")),
    (
        "windows/certutil_download.tests.json",
        include_str!("../../../content/rules/windows/certutil_download.tests.json"),
    ),
    (
        "windows/comsvcs_memory_dump.tests.json",
        include_str!("../../../content/rules/windows/comsvcs_memory_dump.tests.json"),
    ),
    (
        "windows/defender_switched_off.tests.json",
        include_str!("../../../content/rules/windows/defender_switched_off.tests.json"),
    ),
    (
        "windows/kerberos_rc4_ticket.tests.json",
        include_str!("../../../content/rules/windows/kerberos_rc4_ticket.tests.json"),
    ),
    (
        "windows/lsass_memory_read.tests.json",
        include_str!("../../../content/rules/windows/lsass_memory_read.tests.json"),
    ),
    (
        "windows/office_starts_shell.tests.json",
        include_str!("../../../content/rules/windows/office_starts_shell.tests.json"),
    ),
    ("windows/password_spray.tests.json", include_str!("../../../content/rules/windows/password_spray.tests.json")),
    (
        "windows/powershell_encoded_command.tests.json",
        include_str!("../../../content/rules/windows/powershell_encoded_command.tests.json"),
    ),
    (
        "windows/privileged_group_member_added.tests.json",
        include_str!("../../../content/rules/windows/privileged_group_member_added.tests.json"),
    ),
    ("windows/psexec_service.tests.json", include_str!("../../../content/rules/windows/psexec_service.tests.json")),
    (
        "windows/run_key_to_script.tests.json",
        include_str!("../../../content/rules/windows/run_key_to_script.tests.json"),
    ),
    (
        "windows/schtasks_suspicious_action.tests.json",
        include_str!("../../../content/rules/windows/schtasks_suspicious_action.tests.json"),
    ),
    (
        "windows/security_log_cleared.tests.json",
        include_str!("../../../content/rules/windows/security_log_cleared.tests.json"),
    ),
    (
        "windows/service_in_user_folder.tests.json",
        include_str!("../../../content/rules/windows/service_in_user_folder.tests.json"),
    ),
    (
        "windows/shadow_copies_deleted.tests.json",
        include_str!("../../../content/rules/windows/shadow_copies_deleted.tests.json"),
    ),
];
