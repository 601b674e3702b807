"""What `pii` knows by the parts of a name, and the ordinary names that it leaves alone."""

from __future__ import annotations

import pytest

from pipeline.core.privacy.pii_names import (
    MAX_NAME_LENGTH,
    PII_FIELDS,
    PII_IN_TRAITS,
    is_personal,
)

PERSONAL = """
    email Email e-mail $email E_MAIL emailAddress customerEmail customer_email billing-email
    billingEmailAddress
    CUSTOMER_EMAIL customerEMail shipping.email contact_e_mail email2 email_1 emailWork user.email
    newsletter_email
    phone billing_phone_number contactPhone customer_phone cell_phone home_phone phone_home
    userMobile telephone
    userFirstName user_first_name billing_last_name customerFullName recipient_surname givenName
    customer_name
    billingName guest_name contactName delivery_address customerAddress home_street billing_zip
    shippingZipCode
    billing_postal_code customer_address_line1 user_gender customerBirthday member_date_of_birth
    employeeDOB
    customerSSN payer_iban order_card_number
    emails customerEmails phone_numbers billingPhoneNumbers customer_phones first_names
    delivery_addresses
    email_addresses customer_mail customerMails customerPhoneNo guest_mobile_no postal_code_customer
    emailCustomer phone_billing first_name_guest_2 zip_shipping
""".split()
ORDINARY = """
    mailing_list_size email_count email_opened emailCampaignId email_template_name has_email
    is_mobile isMobile has_phone device_mobile smartphone windows_phone phone_case_color
    mobile_app_version product_name item_name list_name page_name category account_name
    shipping_name mac_address web_address address_id product_gender file_zip zip_file
    main_street_store birthday_offer first_name_day_sale card_type order_id position headphones
    saxophone emailed passport_cover_size genderless streetwear fullname_length iban_valid
    mail mails direct_mail mailings mobile_user mobile_customers has_emails is_customer_phone
    product_names list_names
    web_addresses email_delivery email_subscriber phone_holder product_name_customer customers users
    customer user_contact has_phone_no shipping_no
""".split()


@pytest.mark.parametrize("name", PERSONAL)
def test_a_personal_name_is_known_in_any_spelling_with_whose_it_is(name: str) -> None:
    assert is_personal(name, PII_FIELDS)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_is_left_alone(name: str) -> None:
    assert not is_personal(name, PII_FIELDS)


def test_names_of_people_count_among_their_traits_alone() -> None:
    assert is_personal("name", PII_IN_TRAITS) and not is_personal("name", PII_FIELDS)


def test_a_long_name_is_looked_at_from_its_end() -> None:
    assert is_personal("x" * MAX_NAME_LENGTH + "_customer_email", PII_FIELDS)
    assert not is_personal("email_" + "x" * 100_000, PII_FIELDS)
